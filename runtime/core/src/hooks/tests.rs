//! Hooks that follow the role: in which order, how often, and whose is the last word.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn word(millis: u64, level: Level, epoch: u64) -> Word {
    Word {
        at: at(millis),
        level,
        epoch: Epoch(epoch),
        rival_at: None,
    }
}

/// A node's hooks, and what they asked for so far.
struct Bench {
    hooks: Hooks,
    acts: Vec<Act>,
}

impl Bench {
    fn new(count: usize) -> Self {
        Self {
            hooks: Hooks::new(vec![SECOND; count]),
            acts: Vec::new(),
        }
    }

    fn heard(&mut self, millis: u64, level: Level, epoch: u64) {
        self.hooks.heard(at(millis), word(millis, level, epoch));
        self.take();
    }

    fn ended(&mut self, millis: u64, run: u64, passed: bool) {
        self.hooks.ended(at(millis), run, passed);
        self.take();
    }

    fn take(&mut self) {
        while let Some(act) = self.hooks.poll_act() {
            self.acts.push(act);
        }
    }

    /// Words of this level each 100 ms; whatever runs passes at once. The hooks that were started.
    fn serve(
        &mut self,
        from: u64,
        until: u64,
        level: Level,
        epoch: u64,
    ) -> Vec<(u64, usize, bool)> {
        let mut started = Vec::new();
        for now in (from..until).step_by(100) {
            self.heard(now, level, epoch);
            while let Some(place) = self.acts.iter().position(is_start) {
                if let Act::Start { run, hook, call } = self.acts.remove(place) {
                    started.push((now, hook, call.again));
                    self.ended(now, run, true);
                }
            }
        }
        started
    }
}

fn is_start(act: &Act) -> bool {
    matches!(act, Act::Start { .. })
}

fn start(run: u64, hook: usize, level: Level, epoch: u64) -> Act {
    let (epoch, again) = (Epoch(epoch), false);
    Act::Start {
        run,
        hook,
        call: Call {
            level,
            epoch,
            again,
        },
    }
}

/// In the order of the file when it serves, in the opposite one when it does not; one at a time.
#[test]
fn hooks_run_in_order() {
    let mut bench = Bench::new(2);
    bench.heard(0, Level::Standby, 4);
    bench.ended(10, 1, true);
    bench.ended(20, 2, true);
    bench.heard(100, Level::Active, 5);
    bench.ended(110, 3, true);
    let expected = [
        start(1, 1, Level::Standby, 4),
        start(2, 0, Level::Standby, 4),
        start(3, 0, Level::Active, 5),
        start(4, 1, Level::Active, 5),
    ];
    assert_eq!(bench.acts, expected);
    assert!(!bench.hooks.is_settled());
    bench.ended(120, 4, true);
    assert!(bench.hooks.is_settled());
}

/// The newest level wins: what runs for the old one is ended, and only then is the new one's begun.
#[test]
fn hooks_follow_the_newest_level() {
    let mut bench = Bench::new(1);
    bench.heard(0, Level::Active, 5);
    bench.heard(100, Level::Standby, 5);
    bench.heard(200, Level::Active, 6);
    assert_eq!(
        bench.acts,
        [start(1, 0, Level::Active, 5), Act::Kill { run: 1 }]
    );
    bench.ended(210, 1, false);
    assert_eq!(bench.acts.last(), Some(&start(2, 0, Level::Active, 6)));
    // What ran for another level says nothing of this one.
    assert!(bench.hooks.states().all(|state| state.last.is_none()));
}

/// A run that takes too long is ended; one that cannot be ended is left behind.
#[test]
fn hooks_are_ended_when_late() {
    let mut bench = Bench::new(2);
    bench.heard(0, Level::Active, 5);
    assert_eq!(bench.hooks.next_deadline(), Some(at(1_000)));
    bench.hooks.deadline_reached(at(999));
    bench.hooks.deadline_reached(at(1_000));
    bench.heard(1_900, Level::Active, 5);
    bench.take();
    assert_eq!(
        bench.acts,
        [start(1, 0, Level::Active, 5), Act::Kill { run: 1 }]
    );
    bench.hooks.deadline_reached(at(2_000));
    bench.take();
    assert_eq!(bench.acts.last(), Some(&start(2, 1, Level::Active, 5)));
    let first = bench.hooks.states().next().and_then(|state| state.last);
    assert_eq!(first.map(|(_, _, outcome)| outcome), Some(Outcome::Late));
    // Its late end changes nothing.
    bench.ended(2_100, 1, true);
    assert_eq!(bench.acts.len(), 3);
}

/// One that was left behind is not started beside itself; the others are, and it once it is gone.
#[test]
fn hooks_left_behind_do_not_pile_up() {
    let mut bench = Bench::new(2);
    bench.heard(0, Level::Active, 5);
    bench.hooks.deadline_reached(at(1_000));
    bench.hooks.deadline_reached(at(2_000));
    bench.take();
    bench.acts.clear();
    let started = bench.serve(2_100, 20_000, Level::Active, 5);
    assert!(
        !started.is_empty() && started.iter().all(|(_, hook, _)| *hook == 1),
        "{started:?}"
    );
    bench.ended(20_000, 1, false);
    let started = bench.serve(20_000, 90_000, Level::Active, 5);
    assert_eq!(
        started.iter().map(|(_, hook, _)| *hook).collect::<Vec<_>>(),
        [0]
    );
}

/// A level that came back at once is another one: what was ended for it has not failed.
#[test]
fn hooks_of_a_level_that_came_back_have_not_failed() {
    let mut bench = Bench::new(1);
    bench.serve(0, 10_000, Level::Standby, 5);
    bench.heard(10_000, Level::Active, 6);
    bench.heard(10_100, Level::Standby, 6);
    bench.heard(10_200, Level::Active, 6);
    bench.acts.clear();
    bench.ended(10_210, 3, false);
    let Some(Act::Start { run, .. }) = bench.acts.pop() else {
        panic!("{:?}", bench.acts);
    };
    bench.ended(10_220, run, true);
    let started = bench.serve(10_300, 12_000, Level::Active, 6);
    assert_eq!(started, []);
}

/// A failed hook keeps no other from running; it alone is run again, after longer and longer.
#[test]
fn hooks_that_failed_are_run_again() {
    let mut bench = Bench::new(2);
    bench.serve(0, 10_000, Level::Active, 5);
    bench.heard(10_000, Level::Standby, 5);
    bench.ended(10_010, 5, false);
    bench.ended(10_020, 6, true);
    bench.heard(10_900, Level::Standby, 5);
    assert_eq!(bench.acts.len(), 2);
    bench.heard(11_100, Level::Standby, 5);
    assert_eq!(bench.acts.last(), Some(&start(7, 1, Level::Standby, 5)));
    bench.ended(11_110, 7, false);
    bench.heard(13_000, Level::Standby, 5);
    assert_eq!(bench.acts.len(), 3);
    bench.heard(13_200, Level::Standby, 5);
    bench.ended(13_210, 8, true);
    bench.heard(90_000, Level::Standby, 5);
    assert_eq!(bench.acts.len(), 4);
}

/// Whoever serves runs them once more when nobody else's run can be under way; a standby does not.
#[test]
fn hooks_are_run_again_when_the_last_owner_is_outlived() {
    let mut bench = Bench::new(1);
    let started = bench.serve(0, 60_000, Level::Active, 5);
    assert_eq!(started, [(0, 0, false), (2_300, 0, true)]);
    let started = bench.serve(60_000, 120_000, Level::Standby, 5);
    assert_eq!(started, [(60_000, 0, false)]);
}

/// A daemon that starts may have an earlier life's run beside it, whatever it is.
#[test]
fn hooks_are_run_again_after_a_start() {
    let mut bench = Bench::new(1);
    let started = bench.serve(0, 60_000, Level::Standby, 5);
    assert_eq!(started, [(0, 0, false), (2_300, 0, true)]);
}

/// A rival that gave up leaves the claim as it is, and may have run hooks meanwhile.
#[test]
fn hooks_are_run_again_after_a_rival() {
    let mut bench = Bench::new(1);
    bench.serve(0, 60_000, Level::Active, 5);
    let rival_at = Some(at(59_990));
    let mut started = Vec::new();
    for now in (60_000..120_000).step_by(100) {
        let word = Word {
            rival_at,
            ..word(now, Level::Active, 5)
        };
        bench.hooks.heard(at(now), word);
        while let Some(act) = bench.hooks.poll_act() {
            if let Act::Start { run, .. } = act {
                started.push(now);
                bench.hooks.ended(at(now), run, true);
            }
        }
    }
    assert_eq!(started, [60_100, 62_300]);
}

/// A daemon that stood still begins nothing on what it knew before.
#[test]
fn hooks_begin_on_a_fresh_word_only() {
    let mut bench = Bench::new(2);
    bench.heard(0, Level::Active, 5);
    bench.ended(500, 1, true);
    assert_eq!(bench.acts.len(), 1);
    bench.heard(510, Level::Standby, 6);
    assert_eq!(bench.acts.last(), Some(&start(2, 1, Level::Standby, 6)));
}

/// A daemon that ends leaves nothing as if it served, on whatever word.
#[test]
fn hooks_stand_by_at_the_end() {
    let mut bench = Bench::new(1);
    bench.heard(0, Level::Active, 5);
    bench.ended(10, 1, true);
    bench.acts.clear();
    bench.hooks.close(at(5_000));
    bench.heard(5_010, Level::Active, 5);
    assert_eq!(bench.acts.last(), Some(&start(2, 0, Level::Standby, 5)));
    assert!(!bench.hooks.is_settled());
    bench.ended(5_020, 2, false);
    assert!(bench.hooks.is_settled());
}

/// A process of the world: a daemon's stop does not stop it, its guard does in time.
struct Process {
    run: u64,
    call: Call,
    /// It does what it was started for, or is ended before.
    until: u64,
    does: bool,
}

/// A node of the story below.
struct Gateway {
    hooks: Hooks,
    stands_still: bool,
    process: Option<Process>,
    /// Runs that have ended, which the daemon has not read yet.
    unread: Vec<(u64, bool)>,
}

/// One owner at a time of nodes that stand still now and then, and a pointer to whose hook was
/// last. It does not compare epochs: the worst of clouds.
struct Cloud {
    now: u64,
    boxes: Vec<Gateway>,
    owner: usize,
    epoch: u64,
    pointer: Option<usize>,
    draws: Vec<u64>,
    drawn: usize,
}

const TIMEOUT_MS: u64 = 1_000;

impl Cloud {
    fn new(draws: Vec<u64>) -> Self {
        let one = |_| Gateway {
            hooks: Hooks::new(vec![Duration::from_millis(TIMEOUT_MS); 2]),
            stands_still: false,
            process: None,
            unread: Vec::new(),
        };
        Self {
            now: 0,
            boxes: (0..3).map(one).collect(),
            owner: 0,
            epoch: 1,
            pointer: None,
            draws,
            drawn: 0,
        }
    }

    fn run(&mut self, millis: u64) {
        let end = self.now + millis;
        while self.now < end {
            for node in 0..self.boxes.len() {
                self.turn(node);
            }
            self.now += 10;
        }
    }

    fn turn(&mut self, node: usize) {
        let (now, instant) = (self.now, at(self.now));
        let level = if node == self.owner {
            Level::Active
        } else {
            Level::Standby
        };
        let it = &mut self.boxes[node];
        if let Some(process) = it.process.take_if(|process| process.until <= now) {
            it.unread.push((process.run, process.does));
            if process.does && process.call.level == Level::Active {
                self.pointer = Some(node);
            }
        }
        if it.stands_still {
            return;
        }
        for (run, passed) in it.unread.drain(..) {
            it.hooks.ended(instant, run, passed);
        }
        it.hooks.deadline_reached(instant);
        if now.is_multiple_of(100) {
            it.hooks.heard(instant, word(now, level, self.epoch));
        }
        while let Some(act) = self.boxes[node].hooks.poll_act() {
            self.carry_out(node, act);
        }
    }

    fn carry_out(&mut self, node: usize, act: Act) {
        let it = &mut self.boxes[node];
        match act {
            Act::Start { run, call, .. } => {
                // Beyond its time-out its guard ends it.
                let takes = self.draws[self.drawn % self.draws.len()];
                self.drawn += 1;
                it.process = Some(Process {
                    run,
                    call,
                    until: self.now + takes.min(TIMEOUT_MS),
                    does: takes <= TIMEOUT_MS,
                });
            }
            Act::Kill { run } => {
                if it.process.take_if(|process| process.run == run).is_some() {
                    it.unread.push((run, false));
                }
            }
        }
    }
}

/// F03: the old owner's daemon stands still, its hook does not, and ends after the new owner's.
#[test]
fn hooks_of_a_stopped_owner_end_last() {
    let mut cloud = Cloud::new(vec![900, 10, 10, 10, 10, 10, 10, 10]);
    cloud.run(50);
    cloud.boxes[0].stands_still = true;
    cloud.run(50);
    (cloud.owner, cloud.epoch) = (1, 2);
    cloud.run(500);
    assert_eq!(cloud.pointer, Some(1));
    cloud.run(500);
    assert_eq!(cloud.pointer, Some(0));
    cloud.run(2_000);
    assert_eq!(cloud.pointer, Some(1));
}

proptest! {
    /// F03: however slow hooks are, and whoever stood still while they ran, in the end the cloud
    /// points at who serves.
    #[test]
    fn hooks_of_the_owner_come_last(
        draws in proptest::collection::vec(prop_oneof![0_u64..100, 500_u64..1_100], 8..32),
        story in proptest::collection::vec(
            (0_u64..60, any::<bool>(), 0_u64..40, 0_usize..3, any::<bool>()),
            1..4,
        ),
    ) {
        // Somebody's hook must be able to end in time.
        prop_assume!(draws.iter().any(|takes| *takes <= TIMEOUT_MS));
        let mut cloud = Cloud::new(draws);
        for (serves, stops, lapses, next, wakes) in story {
            cloud.run(serves * 10);
            let owner = cloud.owner;
            cloud.boxes[owner].stands_still = stops;
            cloud.run(lapses * 10);
            cloud.owner = next;
            cloud.epoch += 1;
            cloud.boxes[next].stands_still = false;
            if wakes {
                cloud.boxes[owner].stands_still = false;
            }
        }
        let owner = cloud.owner;
        cloud.boxes[owner].stands_still = false;
        cloud.run(20_000);
        for gateway in &mut cloud.boxes {
            gateway.stands_still = false;
        }
        cloud.run(600_000);
        prop_assert_eq!(cloud.pointer, Some(owner));
    }
}
