//! Another kind than runs, as small as may be: it proves that nothing of runs is needed here.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::*;
use longshore_backend::BackendError;
use longshore_domain::reconcile::{Event, Plan};

/// How long something may take that is to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A lamp: it is to burn, and one day it is burnt out, which is written down.
#[derive(Debug)]
enum LampKind {}

#[derive(Clone, Debug, Default, PartialEq)]
struct LampFacts {
    name: String,
    uid: String,
    made: Timestamp,
    colour: String,
    on: bool,
    burnt_out: bool,
    written_down: bool,
    trouble: Option<String>,
    /// Found out beside.
    watts: Option<u32>,
}

#[derive(Clone, Debug, PartialEq)]
struct Lamp {
    name: String,
    made: Timestamp,
    colour: String,
    state: &'static str,
    trouble: Option<String>,
    watts: Option<u32>,
}

#[derive(Debug, PartialEq)]
enum LampAction {
    SwitchOn,
    WriteDown,
}

impl Kind for LampKind {
    const NOUN: &'static str = "lamp";

    type Name = String;
    type Facts = LampFacts;
    type Verdict = &'static str;
    type View = Lamp;
    type Action = LampAction;
    type ActionKey = &'static str;
    type Written = ();
    type Seen = ();
    type Traits<'a> = &'a str;
    type Packed = LampFacts;
    type Common = ();

    fn name(facts: &LampFacts) -> &String {
        &facts.name
    }

    fn uid(facts: &LampFacts) -> &str {
        &facts.uid
    }

    fn remember(known: Option<&LampFacts>, facts: LampFacts, _: Timestamp) -> LampFacts {
        LampFacts { burnt_out: facts.burnt_out || known.is_some_and(|known| known.burnt_out), ..facts }
    }

    fn merge(known: &LampFacts, read: &LampFacts) -> LampFacts {
        LampFacts { written_down: known.written_down || read.written_down, ..known.clone() }
    }

    fn judge(facts: &LampFacts, _: Timestamp) -> &'static str {
        match (facts.on, facts.burnt_out, facts.written_down) {
            (_, _, true) => "GONE_OUT",
            (_, true, false) => "GOING_OUT",
            (true, ..) => "ON",
            (false, ..) => "OFF",
        }
    }

    fn derive(facts: &LampFacts, state: &&'static str, _: Timestamp) -> Lamp {
        let LampFacts { name, made, colour, trouble, watts, .. } = facts.clone();
        Lamp { name, made, colour, state, trouble, watts }
    }

    fn plan(_: &LampFacts, state: &&'static str, _: Timestamp) -> Plan<LampAction> {
        match *state {
            "OFF" => Plan::of(LampAction::SwitchOn),
            "GOING_OUT" => Plan::of(LampAction::WriteDown),
            _ => Plan::default(),
        }
    }

    fn see(_: &LampFacts, _: Option<&()>, _: Option<u64>, _: Instant) {}

    fn state(lamp: &Lamp) -> &'static str {
        lamp.state
    }

    fn is_terminal(lamp: &Lamp) -> bool {
        lamp.state == "GONE_OUT"
    }

    fn is_settled(_: &LampFacts, lamp: &Lamp) -> bool {
        Self::is_terminal(lamp)
    }

    fn owner(_: &LampFacts) -> &'static str {
        "somebody"
    }

    fn traits(lamp: &Lamp) -> &str {
        &lamp.colour
    }

    fn packed_traits(packed: &LampFacts) -> &str {
        &packed.colour
    }

    fn place(lamp: &Lamp) -> (Option<Timestamp>, &String) {
        (Some(lamp.made), &lamp.name)
    }

    fn packed_place(packed: &LampFacts) -> (Option<Timestamp>, &String) {
        (Some(packed.made), &packed.name)
    }

    fn counted(observed: &Observed<Self>) -> Counted {
        Counted { state: observed.view.state, stage: None }
    }

    fn packed_counted(_: &LampFacts) -> Counted {
        Counted { state: "GONE_OUT", stage: None }
    }

    fn pack(observed: &Observed<Self>, _: &mut ()) -> Option<LampFacts> {
        Some(observed.facts.clone())
    }

    fn unpack(packed: &LampFacts) -> Option<Observed<Self>> {
        Some(Observed::known(packed.clone(), (), Timestamp::UNIX_EPOCH))
    }

    fn is_recorded(facts: &LampFacts) -> bool {
        facts.written_down
    }

    fn key(action: &LampAction) -> &'static str {
        Self::action(action)
    }

    fn writes(action: &LampAction) -> Option<()> {
        (*action == LampAction::WriteDown).then_some(())
    }

    fn shows(facts: &LampFacts, (): &()) -> bool {
        facts.written_down
    }

    fn misses(action: &LampAction) -> Option<&'static str> {
        Self::writes(action).map(|()| "that it burnt out can't be recorded yet")
    }

    fn action(action: &LampAction) -> &'static str {
        match action {
            LampAction::SwitchOn => "switch_on",
            LampAction::WriteDown => "write_down",
        }
    }
}

/// What was measured of a lamp, and whether that was begun.
#[derive(Debug, Default)]
struct Measured {
    begun: bool,
    watts: Option<u32>,
}

/// All lamps there are, and who watches them.
struct House {
    events: Mutex<Option<mpsc::Receiver<Event<LampFacts, String>>>>,
    emit: mpsc::Sender<Event<LampFacts, String>>,
    /// Nothing is written down as long as there is no paper.
    has_paper: Mutex<bool>,
    acted: Mutex<Vec<(String, &'static str)>>,
    gone: Mutex<Vec<String>>,
}

/// The electrician.
struct Wires(Arc<House>);

impl Driver for Wires {
    type Kind = LampKind;
    type Memo = Measured;
    type Finding = u32;

    fn watch(&self) -> BoxStream<'static, Event<LampFacts, String>> {
        Box::pin(ReceiverStream::new(self.0.events.lock().unwrap().take().expect("it is watched once")))
    }

    async fn get(&self, name: &String) -> Result<Option<LampFacts>, BackendError> {
        Ok((name == "attic").then(|| lamp("attic", 9)))
    }

    async fn act(&self, name: &String, _: &str, action: &LampAction) -> Result<(), BackendError> {
        self.0.acted.lock().unwrap().push((name.clone(), LampKind::action(action)));
        let lamp = lamp(name, 1);
        let done = match action {
            LampAction::SwitchOn => LampFacts { on: true, ..lamp },
            LampAction::WriteDown if *self.0.has_paper.lock().unwrap() => LampFacts { written_down: true, ..lamp },
            LampAction::WriteDown => {
                return Err(BackendError::Exhausted { what: "write".to_owned(), message: "no paper".to_owned() });
            }
        };
        self.0.emit.send(Event::Upsert(Box::new(done))).await.unwrap();
        Ok(())
    }

    fn amend(&self, memo: &mut Measured, trouble: Option<&str>, facts: &mut LampFacts) {
        facts.trouble = trouble.map(str::to_owned);
        facts.watts = memo.watts;
    }

    fn taken_in(&self, _: Option<&Observed<LampKind>>, _: &Observed<LampKind>, _: &Readiness) {}

    fn beside(
        &self,
        memo: &mut Measured,
        observed: &Observed<LampKind>,
        _: &Table<LampKind>,
    ) -> Option<BoxFuture<'static, u32>> {
        let begins = observed.facts.on && !std::mem::replace(&mut memo.begun, observed.facts.on);
        begins.then(|| Box::pin(async { 60_u32 }) as BoxFuture<'static, u32>)
    }

    fn found(&self, memo: &mut Measured, watts: u32) {
        memo.watts = Some(watts);
    }

    fn goes_on_without(&self, _: &mut Measured, _: &LampAction, _: &BackendError, _: u32) -> bool {
        false
    }

    fn gone(&self, uid: &str) {
        self.0.gone.lock().unwrap().push(uid.to_owned());
    }
}

fn lamp(name: &str, made: i64) -> LampFacts {
    LampFacts {
        name: name.to_owned(),
        uid: format!("uid of {name}"),
        made: Timestamp::from_second(made).unwrap(),
        colour: "red".to_owned(),
        ..LampFacts::default()
    }
}

fn house() -> (Reconciled<Wires>, Arc<House>, Registry) {
    let (emit, events) = mpsc::channel(64);
    let (acted, gone) = (Mutex::default(), Mutex::default());
    let house = Arc::new(House { events: Mutex::new(Some(events)), emit, has_paper: Mutex::new(true), acted, gone });
    let mut registry = Registry::default();
    let metrics = ReconcileMetrics::default();
    let names = MetricNames {
        rows: ("lamps", "Lamps"),
        holds: ("lamp_holds", "Lamps"),
        durations: ("lamp_state_duration", "Lamps"),
        actions: ("lamp_actions", "Lamps"),
        busy: ("lamp_busy", "Lamps"),
        synced: ("lamps_synced", "Lamps"),
    };
    metrics.register(&mut registry, names);
    (Reconciled::start(Wires(Arc::clone(&house)), metrics), house, registry)
}

impl House {
    async fn reports(&self, event: Event<LampFacts, String>) {
        self.emit.send(event).await.unwrap();
    }
}

/// Waits until what is known of this lamp is so.
async fn until(lamps: &Reconciled<Wires>, name: &str, is_so: impl Fn(&Lamp) -> bool) -> Lamp {
    let name = name.to_owned();
    let known = async {
        loop {
            match lamps.table().get(&name).filter(|known| is_so(&known.view)) {
                Some(known) => return (*known.view).clone(),
                None => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, known).await.expect("it comes to be so")
}

#[tokio::test]
async fn a_lamp_is_switched_on_measured_waited_for_and_packed() {
    let (lamps, house, registry) = house();
    house.reports(Event::Upsert(Box::new(lamp("hall", 1)))).await;
    house.reports(Event::Synced).await;
    lamps.readiness().wait_for(|ready| *ready == Readiness::Ready).await.unwrap();
    let lit = until(&lamps, "hall", |lamp| lamp.watts.is_some()).await;
    assert_eq!((lit.state, lit.watts), ("ON", Some(60)));
    assert_eq!(lamps.table().live_of("somebody"), 1);

    let drain = CancellationToken::new();
    let hall = "hall".to_owned();
    let ends = lamps.wait(&hall, Duration::from_secs(40), &drain);
    let burns_out = house.reports(Event::Upsert(Box::new(LampFacts { burnt_out: true, ..lamp("hall", 1) })));
    let (ended, ()) = tokio::join!(ends, burns_out);
    assert_eq!(ended.unwrap().state, "GONE_OUT");
    assert_eq!(*house.acted.lock().unwrap(), [("hall".to_owned(), "switch_on"), ("hall".to_owned(), "write_down")]);
    // Nobody follows it any more.
    let packed = async {
        while !lamps.table().is_packed(&hall) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, packed).await.expect("it is packed");
    assert_eq!((lamps.table().live_of("somebody"), lamps.table().finished()), (0, 1));
    assert!(lamps.wait(&"cellar".to_owned(), Duration::ZERO, &drain).await.is_none());

    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    // Nothing but its row is left of it, and it can be reported and deleted.
    house.reports(Event::Upsert(Box::new(LampFacts { written_down: true, ..lamp("hall", 1) }))).await;
    lamps.deleted(hall.clone(), "uid of hall".to_owned()).await;
    assert!(!lamps.table().contains(&hall));
    assert_eq!(*house.gone.lock().unwrap(), ["uid of hall"]);
    for line in [r#"lamps{state="GONE_OUT"} 1"#, r#"lamp_actions_total{action="write_down",outcome="done"} 1"#] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[tokio::test]
async fn what_can_not_be_written_down_is_reported_and_the_lamp_has_not_ended() {
    let (lamps, house, _registry) = house();
    *house.has_paper.lock().unwrap() = false;
    house.reports(Event::Upsert(Box::new(LampFacts { burnt_out: true, ..lamp("hall", 1) }))).await;
    let stuck = until(&lamps, "hall", |lamp| lamp.trouble.is_some()).await;
    let trouble = "that it burnt out can't be recorded yet: write: no paper";
    assert_eq!((stuck.state, stuck.trouble.as_deref()), ("GOING_OUT", Some(trouble)));
}

#[tokio::test]
async fn lamps_are_listed_by_pages_and_watched() {
    let (lamps, house, _registry) = house();
    for (name, made) in [("a", 1), ("b", 3), ("c", 2)] {
        house.reports(Event::Upsert(Box::new(LampFacts { on: true, ..lamp(name, made) }))).await;
    }
    house.reports(Event::Upsert(Box::new(LampFacts { colour: "green".to_owned(), on: true, ..lamp("d", 4) }))).await;
    until(&lamps, "d", |_| true).await;
    let red = |colour: &str| colour == "red";
    let query = |token| PageQuery { size: 2, token, text: "red" };
    let names = |page: &Page<Lamp>| page.items.iter().map(|lamp| lamp.name.clone()).collect::<Vec<_>>();
    let first = lamps.list(query(""), red).unwrap();
    assert_eq!(names(&first), ["b", "c"]);
    let token = first.next_page_token.as_deref().unwrap();
    let second = lamps.list(query(token), red).unwrap();
    assert_eq!((names(&second), second.next_page_token), (vec!["a".to_owned()], None));
    let other = lamps.list(PageQuery { text: "green", ..query(token) }, red).unwrap_err();
    assert_eq!(other.field, "page_token");

    let drain = CancellationToken::new();
    let mut watch = lamps.watch(red, drain.clone(), None);
    for name in ["a", "b", "c"] {
        assert!(matches!(watch.next().await, Some(WatchEvent::Present(lamp)) if lamp.name == name));
    }
    assert!(matches!(watch.next().await, Some(WatchEvent::Synced)));
    house.reports(Event::Upsert(Box::new(LampFacts { colour: "green".to_owned(), on: true, ..lamp("b", 3) }))).await;
    house.reports(Event::Gone("a".to_owned())).await;
    let mut removed = Vec::new();
    while removed.len() < 2 {
        // What was measured is reported before.
        let event = tokio::time::timeout(PATIENCE, watch.next()).await.expect("more is reported");
        if let Some(WatchEvent::Removed { last, cause }) = event {
            removed.push((last.name.clone(), cause));
        }
    }
    assert_eq!(removed, [("b".to_owned(), RemovalCause::Unmatched), ("a".to_owned(), RemovalCause::Deleted)]);
    assert_eq!(*house.gone.lock().unwrap(), ["uid of a"]);
    drain.cancel();
    assert!(matches!(watch.next().await, Some(WatchEvent::Reconnect(_))));
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn one_that_is_not_known_is_asked_for_and_one_that_was_deleted_stays_so() {
    let (lamps, house, _registry) = house();
    let (attic, cellar) = ("attic".to_owned(), "cellar".to_owned());
    assert!(lamps.observed(&cellar).await.unwrap().is_none());
    assert_eq!(lamps.observed(&attic).await.unwrap().unwrap().view.name, "attic");
    assert!(lamps.table().contains(&attic));
    lamps.deleted(attic.clone(), "uid of attic".to_owned()).await;
    // Read before it was deleted.
    lamps.seen(lamp("attic", 9)).await;
    assert!(!lamps.table().contains(&attic));
    assert_eq!(*house.gone.lock().unwrap(), ["uid of attic"]);
}
