//! The admin of the upstream cluster, to which the admin of a backup cluster reports (spec tools.md
//! 9.3). Its address comes from our own master; the link survives the loss of either.

use neo_wire::{Address, Map, NodeType, Packet, Text, Value};
use tracing::{debug, info, warn};

use super::monitor::upstream_information;
use super::{Admin, Effect, Request};
use crate::io::{ConnectionId, Now, Output, Outputs, TimerId};
use crate::links::Links;
use crate::pacing::Pacing;

/// The link to an admin of the upstream cluster.
#[derive(Debug)]
pub(super) struct Upstream {
    address: Option<Address>,
    connection: Option<ConnectionId>,
    identified: bool,
    pacing: Pacing,
    timer: TimerId,
}

impl Upstream {
    pub(super) fn new(timer: TimerId) -> Self {
        Self {
            address: None,
            connection: None,
            identified: false,
            pacing: Pacing::default(),
            timer,
        }
    }

    /// Where it is, as our master says. Another address replaces the link.
    pub(super) fn set_address(
        &mut self,
        address: Address,
        now: Now,
        links: &mut Links<Request>,
        out: &mut Outputs<Effect>,
    ) {
        if self.address.as_ref() == Some(&address) {
            return;
        }
        info!(%address, "this cluster reports to an upstream admin");
        self.address = Some(address);
        if let Some(connection) = self.connection.take() {
            // Only our identification can wait there.
            let _ = links.close(connection, out);
        }
        self.connect(now, links, out);
    }

    /// Where it is expected.
    pub(super) fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    fn connect(&mut self, now: Now, links: &mut Links<Request>, out: &mut Outputs<Effect>) {
        self.identified = false;
        let Some(address) = self.address.clone() else {
            return;
        };
        let delay_ms = self.pacing.delay_ms(&address, now);
        if delay_ms > 0 {
            let timer = self.timer;
            out.push(Output::SetTimer { timer, delay_ms });
            return;
        }
        self.pacing.attempt(&address, now);
        self.connection = Some(links.connect(address, out));
    }

    pub(super) fn on_timer(
        &mut self,
        now: Now,
        links: &mut Links<Request>,
        out: &mut Outputs<Effect>,
    ) {
        if self.connection.is_none() {
            self.connect(now, links, out);
        }
    }

    pub(super) fn on_connected(
        &mut self,
        connection: ConnectionId,
        cluster: Text,
        links: &mut Links<Request>,
        out: &mut Outputs<Effect>,
    ) {
        if self.connection != Some(connection) {
            return;
        }
        if let Some(address) = &self.address {
            self.pacing.reached(address);
        }
        let request = Packet::RequestIdentification {
            node_type: NodeType::Admin,
            nid: None,
            address: None,
            cluster,
            id_timestamp: None,
            extra: Map::default(),
        };
        // Established: it can not be given back.
        let _ = links.request(connection, request, Request::IdentifyUpstream, out);
    }

    pub(super) fn on_closed(
        &mut self,
        connection: ConnectionId,
        established: bool,
        now: Now,
        links: &mut Links<Request>,
        out: &mut Outputs<Effect>,
    ) {
        if self.connection != Some(connection) {
            return;
        }
        debug!(?connection, established, "upstream admin lost");
        self.connection = None;
        if let Some(address) = self.address.clone().filter(|_| !established) {
            self.pacing.failed(&address);
        }
        self.connect(now, links, out);
    }

    /// Tells what changed, if there is something and somebody.
    pub(super) fn notify(
        &self,
        entries: Vec<(Text, Option<Value>)>,
        links: &mut Links<Request>,
        out: &mut Outputs<Effect>,
    ) {
        if let Some(connection) = self.connection.filter(|_| self.identified)
            && !entries.is_empty()
        {
            let info = Map(entries);
            links.notify(connection, Packet::NotifyMonitorInformation { info }, out);
        }
    }
}

impl Admin {
    /// What the upstream admin answered to our identification.
    pub(super) fn on_upstream(
        &mut self,
        now: Now,
        connection: ConnectionId,
        packet: Packet,
        out: &mut Outputs<Effect>,
    ) {
        if self.upstream.connection != Some(connection) {
            return;
        }
        if let Packet::AcceptIdentification { node_type: NodeType::Admin, .. } = packet {
            self.upstream.identified = true;
            let entries = upstream_information(self.monitor.main());
            self.upstream.notify(entries, &mut self.links, out);
            return;
        }
        if let Packet::Error { code, message } = &packet {
            warn!(?code, %message, "the upstream admin refuses this cluster");
        } else {
            warn!(packet = packet.name(), "the upstream admin is something else");
        }
        let lost = self.links.close(connection, out);
        self.ended(now, connection, lost, out);
    }
}
