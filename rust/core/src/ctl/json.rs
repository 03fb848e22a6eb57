//! Outputs for programs: NIDs as operators write them, TIDs and OIDs on 16 hexadecimal digits,
//! dates in ISO 8601.

use neo_wire::{Cell, NodeInfo, Oid, Partition, Ptid, Text, Tid};
use serde_json::{Value, json};

use super::command::Rows;
use super::format;
use crate::dates::{format_tid, format_timestamp};

fn iso(date: &str) -> String {
    date.replacen(' ', "T", 1) + "Z"
}

fn text<T: ToString>(value: Option<T>) -> Value {
    value.map_or(Value::Null, |value| value.to_string().into())
}

fn tid(tid: Option<Tid>) -> Value {
    tid.map_or(Value::Null, |tid| json!({"tid": tid.to_string(), "date": iso(&format_tid(tid))}))
}

/// What an answer says, when that is only a text.
pub(super) fn message(text: &str) -> Value {
    json!({"message": text})
}

/// The list of nodes.
pub(super) fn nodes(nodes: &[NodeInfo]) -> Value {
    let node = |node: &NodeInfo| {
        json!({
            "nid": text(node.nid),
            "type": node.node_type.name(),
            "address": text(node.address.as_ref()),
            "state": node.state.name(),
            "id_timestamp": text(node.id_timestamp.map(|x| iso(&format_timestamp(x)))),
        })
    };
    let nodes = format::sorted(nodes).into_iter().map(node);
    json!({"nodes": nodes.collect::<Vec<_>>()})
}

/// Rows of a table.
pub(super) fn partitions(rows: &[Vec<Cell>], which: Rows) -> Value {
    let partition = |(partition, row): (Partition, &Vec<Cell>)| {
        let cells = row.iter();
        let cells = cells.map(|x| json!({"nid": x.nid.to_string(), "state": x.state.name()}));
        json!({"partition": partition.0, "cells": cells.collect::<Vec<_>>()})
    };
    format::select(rows, which).map(partition).collect()
}

/// A table with its version.
pub(super) fn table(ptid: Option<Ptid>, num_replicas: u32, partitions: Value) -> Value {
    json!({
        "ptid": ptid.map(|ptid| ptid.0),
        "replicas": num_replicas,
        "partitions": partitions,
    })
}

/// `print ids` out of backup mode.
pub(super) fn ids(last_oid: Option<Oid>, last_tid: Option<Tid>, ptid: Option<Ptid>) -> Value {
    json!({
        "last_oid": text(last_oid.map(|oid| format!("{:016x}", oid.0))),
        "last_tid": tid(last_tid),
        "ptid": ptid.map(|ptid| ptid.0),
    })
}

/// `print ids` in backup mode.
pub(super) fn backup_ids(backup_tid: Tid, last_tid: Tid, ptid: Option<Ptid>) -> Value {
    json!({
        "backup_tid": tid(Some(backup_tid)),
        "last_tid": tid(Some(last_tid)),
        "ptid": ptid.map(|ptid| ptid.0),
    })
}

/// `print summary`
pub(super) fn summary(warning: &[Option<Text>], problem: &[Option<Text>], body: &Text) -> Value {
    let names = |names: &[Option<Text>]| names.iter().map(|x| text(x.as_ref())).collect::<Value>();
    let severity = match (warning, problem) {
        ([], []) => "ok",
        (_, []) => "warning",
        _ => "problem",
    };
    json!({
        "severity": severity,
        "warning": names(warning),
        "problem": names(problem),
        "summary": body.to_string(),
    })
}
