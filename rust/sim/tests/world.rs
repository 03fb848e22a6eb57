//! The mechanism of the simulator, with two nodes that only say Ping and Pong.

use std::cell::RefCell;
use std::rc::Rc;

use neo_core::io::{ConnectionId, Input, Nothing, Output, TimerId};
use neo_sim::bugs::Bugs;
use neo_sim::host::{Host, Kind, NodeIndex, Turn};
use neo_sim::network::Profile;
use neo_sim::random::Random;
use neo_sim::scenario::Scenario;
use neo_sim::schedule::Time;
use neo_sim::trace::Lines;
use neo_sim::world::{Event, FaultKind, World};
use neo_wire::Packet;

#[derive(Clone, PartialEq, Debug)]
enum Seen {
    Start(NodeIndex),
    Connected(NodeIndex),
    Pong,
    Closed(NodeIndex),
}

type Diary = Rc<RefCell<Vec<(Seen, Time)>>>;

/// Connects to the other one if it is told where, says Ping every 10 ms, answers Pong.
struct Talker {
    kind: Kind,
    to: Option<usize>,
    connection: Option<ConnectionId>,
    opened: u64,
    diary: Diary,
}

impl Talker {
    fn connect(&mut self, turn: &mut Turn<'_>) {
        if let Some(n) = self.to {
            self.opened += 1;
            let connection = ConnectionId::opened(self.opened);
            let address = Scenario::address(Kind::Master, n);
            turn.outputs.push(Output::Connect { connection, address });
        }
    }
}

impl Host for Talker {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn boot(&mut self, turn: &mut Turn<'_>) -> Result<(), String> {
        self.diary.borrow_mut().push((Seen::Start(turn.node), turn.time));
        Ok(())
    }

    fn handle(&mut self, turn: &mut Turn<'_>, input: Input<Nothing>) -> Result<(), String> {
        let timer = TimerId(7);
        let see = |seen| self.diary.borrow_mut().push((seen, turn.time));
        match input {
            Input::Start => self.connect(turn),
            Input::Connected { connection } => {
                see(Seen::Connected(turn.node));
                self.connection = Some(connection);
                turn.outputs.push(Output::SetTimer { timer, delay_ms: 10 });
            }
            Input::Timer { .. } => match self.connection {
                Some(connection) => {
                    let packet = Packet::Ping {};
                    turn.outputs.push(Output::Send { connection, msg_id: 3, packet });
                    turn.outputs.push(Output::SetTimer { timer, delay_ms: 10 });
                }
                None => self.connect(turn),
            },
            Input::Received { connection, message } => match message.packet {
                Packet::Ping {} => {
                    let packet = Packet::Pong {};
                    let msg_id = message.msg_id.unwrap_or_default();
                    turn.outputs.push(Output::Send { connection, msg_id, packet });
                }
                packet => {
                    assert_eq!(packet, Packet::Pong {});
                    see(Seen::Pong);
                }
            },
            Input::Closed { .. } => {
                see(Seen::Closed(turn.node));
                self.connection = None;
                turn.outputs.push(Output::SetTimer { timer, delay_ms: 100 });
            }
            _ => {}
        }
        Ok(())
    }

    fn crash(&mut self, _machine: bool, _turn: &mut Turn<'_>) {
        self.connection = None;
    }
}

const SERVER: NodeIndex = NodeIndex(0);
const CALLER: NodeIndex = NodeIndex(1);

fn talkers(seed: u64) -> (World, Diary) {
    let profile = Profile {
        min: Time(10),
        max: Time(100),
        tail_one_in: 50,
        tail: Time::ms(3),
        cut_one_in: 2,
    };
    let mut world = World::new(Random::new(seed), profile, Bugs::None, Lines::None);
    let diary = Diary::default();
    for (n, to) in [(0, None), (1, Some(0))] {
        let (kind, connection) = (Kind::Master, None);
        let host = Talker { kind, to, connection, opened: 0, diary: diary.clone() };
        world.add("T", Scenario::address(Kind::Master, n), Box::new(host));
        world.schedule.after(Time(n as u64), Event::Boot(NodeIndex(n)));
    }
    (world, diary)
}

fn run_until(world: &mut World, end: Time) {
    while world.schedule.next_time().is_some_and(|time| time < end) {
        world.step();
    }
}

fn pongs(diary: &Diary) -> usize {
    diary.borrow().iter().filter(|(seen, _)| *seen == Seen::Pong).count()
}

fn has(diary: &Diary, wanted: &Seen) -> bool {
    diary.borrow().iter().any(|(seen, _)| seen == wanted)
}

#[test]
fn messages_pass_although_they_arrive_in_pieces() {
    let (mut world, diary) = talkers(1);
    run_until(&mut world, Time::s(10));
    assert!(pongs(&diary) > 900, "{} of some 990", pongs(&diary));
    assert_eq!(world.oracle.violations(), []);
}

#[test]
fn the_same_seed_does_the_same() {
    let hash = |seed| {
        let (mut world, _) = talkers(seed);
        for i in 0..200 {
            run_until(&mut world, Time::ms(100 * i));
            let kinds = FaultKind::COMMON;
            let kind = kinds[world.random.index(kinds.len())];
            let node = NodeIndex(world.random.index(2));
            world.inject(kind, node, None);
        }
        (world.trace.hash(), world.events())
    };
    assert_eq!(hash(5), hash(5));
    assert_ne!(hash(5), hash(6));
}

#[test]
fn a_reset_is_seen_at_both_ends_and_cuts_packets_anywhere() {
    for seed in 0..50 {
        let (mut world, diary) = talkers(seed);
        run_until(&mut world, Time::ms(55));
        world.inject(FaultKind::Reset, CALLER, None);
        run_until(&mut world, Time::s(2));
        assert!(has(&diary, &Seen::Closed(CALLER)) && has(&diary, &Seen::Closed(SERVER)));
        assert!(pongs(&diary) > 150, "the connection was made again");
        assert_eq!(world.oracle.violations(), []);
    }
}

#[test]
fn a_killed_process_is_noticed_and_starts_again() {
    let (mut world, diary) = talkers(2);
    run_until(&mut world, Time::ms(50));
    world.inject(FaultKind::Kill, SERVER, None);
    assert!(!world.is_running(SERVER));
    run_until(&mut world, Time::s(20));
    assert!(has(&diary, &Seen::Closed(CALLER)));
    let starts = diary.borrow().iter().filter(|(seen, _)| *seen == Seen::Start(SERVER)).count();
    assert_eq!(starts, 2);
    assert!(pongs(&diary) > 500);
}

#[test]
fn a_machine_without_power_says_nothing() {
    let (mut world, diary) = talkers(3);
    run_until(&mut world, Time::ms(55));
    let before = pongs(&diary);
    world.crash(SERVER, true);
    run_until(&mut world, Time::s(80));
    assert!(!has(&diary, &Seen::Closed(CALLER)), "nobody told it");
    assert!(pongs(&diary) <= before + 1);
    run_until(&mut world, Time::s(100));
    assert!(has(&diary, &Seen::Closed(CALLER)), "keep-alive");
}

#[test]
fn what_a_partition_holds_back_arrives_in_order_when_it_ends() {
    for seed in 0..20 {
        let (mut world, diary) = talkers(seed);
        run_until(&mut world, Time::ms(55));
        world.inject(FaultKind::Partition, CALLER, None);
        let blocked = world.is_blocked(CALLER, SERVER) || world.is_blocked(SERVER, CALLER);
        run_until(&mut world, Time::s(200));
        assert_eq!(world.oracle.violations(), []);
        assert!(pongs(&diary) > 4_000, "{blocked}: {}", pongs(&diary));
    }
}

#[test]
fn a_paused_process_handles_later_what_came_meanwhile() {
    let (mut world, diary) = talkers(4);
    run_until(&mut world, Time::ms(55));
    world.inject(FaultKind::Pause, SERVER, None);
    run_until(&mut world, Time::s(40));
    // Every ping was answered, be it late, on the same connection.
    assert!(!has(&diary, &Seen::Closed(CALLER)));
    assert!(pongs(&diary) > 3_900, "{}", pongs(&diary));
}

#[test]
fn nobody_listens_where_there_is_no_process() {
    let (mut world, diary) = talkers(5);
    world.step();
    world.crash(SERVER, false);
    run_until(&mut world, Time::s(1));
    assert!(has(&diary, &Seen::Closed(CALLER)) && !has(&diary, &Seen::Connected(CALLER)));
    world.boot(SERVER);
    run_until(&mut world, Time::s(2));
    assert!(has(&diary, &Seen::Connected(CALLER)));
}

#[test]
fn faults_of_a_healed_world_are_not_made() {
    let (mut world, _) = talkers(6);
    run_until(&mut world, Time::ms(50));
    world.heal();
    world.inject(FaultKind::Kill, SERVER, None);
    assert!(world.is_running(SERVER));
    assert!(world.coverage.0.is_empty());
}
