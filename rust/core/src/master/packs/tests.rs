use std::collections::BTreeSet;

use neo_wire::{NodeId, NodeType, OidList, PackOrder, PackRequest, Tid};

use super::Packs;

fn nids(numbers: &[u32]) -> BTreeSet<NodeId> {
    let nid = |number: &u32| NodeId::new(NodeType::Storage, *number);
    numbers.iter().map(nid).collect()
}

fn order(tid: u64, approved: Option<bool>) -> PackOrder {
    PackOrder { tid: Tid(tid), approved, partial: false, oids: None, pack_tid: Tid(1) }
}

fn request() -> PackRequest {
    PackRequest { oids: None, pack_tid: Tid(1) }
}

#[test]
fn a_signature_never_changes() {
    let mut packs = Packs::default();
    packs.merge(vec![order(5, None), order(6, Some(true))]);
    assert!(!packs.order(Tid(7), request()));
    packs.merge(vec![order(5, Some(false)), order(6, Some(false))]);
    let known = packs.orders_from(Tid(1), false);
    let signatures: Vec<_> = known.iter().map(|order| order.approved).collect();
    assert_eq!(signatures, [Some(false), Some(true), None]);
    packs.reject_unsigned();
    assert!(packs.order(Tid(8), request()));
    assert!(packs.is_approved(Tid(8)) && !packs.is_approved(Tid(7)));
}

#[test]
fn completion_is_what_all_readable_storages_have_done() {
    let mut packs = Packs::default();
    packs.merge(vec![order(5, Some(true)), order(6, Some(true))]);
    let [first, second] = [1, 2].map(|number| NodeId::new(NodeType::Storage, number));
    packs.set_completed(first, Tid(6));
    packs.set_completed(second, Tid(0));
    assert_eq!(packs.complete(&nids(&[1, 2])), []);
    assert_eq!(packs.max_completed(), Some(Tid(0)));
    packs.set_completed(second, Tid(5));
    packs.complete(&nids(&[1, 2]));
    assert_eq!(packs.max_completed(), Some(Tid(5)));
    assert!(packs.is_needed_after(Tid(4)) && packs.is_needed_after(Tid(5)));
    assert!(!packs.is_needed_after(Tid(6)));
    // What is found again below is not completed for who looks at the list.
    packs.recover(Tid(3), vec![order(5, Some(true))]);
    assert_eq!(packs.max_completed(), Some(Tid(2)));
    assert_eq!(packs.orders_from(Tid(3), true), [order(5, Some(true))]);
    packs.complete(&nids(&[2]));
    assert_eq!(packs.orders_from(Tid(3), true), [order(6, Some(true))]);
}

#[test]
fn nothing_is_told_when_nothing_is_signed() {
    let mut packs = Packs::default();
    assert_eq!(packs.signed(), None);
    packs.merge(vec![order(5, None)]);
    assert_eq!(packs.signed(), None);
    let bin = PackOrder { oids: Some(OidList::Concatenated(Vec::new())), ..order(9, Some(false)) };
    packs.merge(vec![bin]);
    assert!(packs.signed().is_some());
    let last = packs.orders_from(Tid(9), false);
    assert_eq!(last[0].oids, Some(OidList::List(Vec::new())));
}
