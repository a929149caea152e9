//! The driver keeps its promises: order, no waiting, and the kernel's word at once.

#![expect(clippy::unwrap_used, reason = "a test: a panic is a verdict")]

use std::time::Duration;

use steadfast_core::effect::{Command, Forwarding};
use steadfast_core::role::{ConfiguredRole, EffectiveRole};
use steadfast_core::status::Cause;
use steadfast_shell::env::Sent;
use steadfast_shell::orders::Order;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

mod desk;

use desk::{Gateway, LAN, changed, chatter, gateway, pair};

/// Runs a story on the jumping clock.
fn story(tell: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, tell);
}

async fn pass(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// Lets time pass with chatter on the served segment.
async fn live(gateways: &[&Gateway], millis: u64) {
    for _ in 0..millis / 50 {
        gateways.iter().for_each(|it| chatter(it));
        pass(50).await;
    }
}

async fn until_role(gateways: &[&Gateway], of: &Gateway, role: EffectiveRole) {
    for _ in 0..2_000 {
        if of.status.borrow().role == role {
            return;
        }
        live(gateways, 50).await;
    }
    panic!("never {role:?}: {:?}", of.status.borrow());
}

fn marks(gateway: &Gateway) -> Vec<(u64, u8)> {
    let sent = gateway.hands.sent.borrow();
    let ours = sent.iter().filter(|(_, _, frame, sent)| {
        frame.get(12..14) == Some(&[0x88, 0xb5]) && *sent == Sent::Sent
    });
    ours.map(|(at, _, frame, _)| (at.as_nanos() / 1_000_000, frame[15]))
        .collect()
}

/// Two drivers and two wires make one active and one standby; when the active's driver stands
/// still, the standby has the role.
#[test]
fn driver_pair_one_serves_and_the_other_follows() {
    story(async {
        let (one, two) = pair();
        until_role(&[&one, &two], &one, EffectiveRole::Active).await;
        assert_eq!(two.status.borrow().role, EffectiveRole::Standby);
        live(&[&one, &two], 1_000).await;
        one.hands.hold(true);
        until_role(&[&two], &two, EffectiveRole::Active).await;
    });
}

/// A kernel that takes seconds to obey delays the role and nothing else: advertisements leave on
/// time, and none says active before the kernel confirmed.
#[test]
fn driver_slow_kernel_does_not_hold_up_advertisements() {
    story(async {
        let (one, _) = gateway(1);
        live(&[&one], 1_000).await;
        one.hands.apply_takes.set(Duration::from_secs(3));
        until_role(&[&one], &one, EffectiveRole::Active).await;
        let applied = one.hands.applied.borrow();
        let serving = |(_, wish): &&(_, Forwarding)| matches!(wish, Forwarding::Active { .. });
        let armed = applied.iter().find(serving).unwrap().0.as_nanos() / 1_000_000;
        let said = marks(&one);
        assert!(
            said.iter().all(|(at, mark)| *mark == 1 || *at >= armed),
            "{armed} {said:?}"
        );
        let gap = said.windows(2).map(|two| two[1].0 - two[0].0).max();
        assert!(gap <= Some(101), "silent for {gap:?} ms");
    });
}

/// A disk that takes seconds delays nothing.
#[test]
fn driver_slow_disk_does_not_hold_up_advertisements() {
    story(async {
        let (one, _) = gateway(1);
        one.hands.store_takes.set(Duration::from_secs(5));
        until_role(&[&one], &one, EffectiveRole::Active).await;
        let said = marks(&one);
        let gap = said.windows(2).map(|two| two[1].0 - two[0].0).max();
        assert!(gap <= Some(101), "silent for {gap:?} ms");
    });
}

/// The kernel refuses an active's frame: at that same instant the node knows that it owns nothing.
#[test]
fn driver_refused_frame_ends_the_role_at_once() {
    story(async {
        let (one, _) = gateway(1);
        until_role(&[&one], &one, EffectiveRole::Active).await;
        one.hands.lapse();
        let mut status = one.status.clone();
        status
            .wait_for(|it| it.role != EffectiveRole::Active)
            .await
            .unwrap();
        let sent = one.hands.sent.borrow();
        let refused = sent.iter().find(|(_, _, _, sent)| *sent == Sent::Refused);
        let (at, ..) = refused.expect("the kernel refused a frame");
        assert_eq!(status.borrow().since, *at);
        assert!(matches!(status.borrow().why, Cause::LeaseLost { .. }));
    });
}

/// A driver that was held still reads what was said meanwhile before it judges a deadline (D6).
#[test]
fn driver_reads_everything_before_it_judges() {
    story(async {
        let (one, two) = pair();
        until_role(&[&one, &two], &one, EffectiveRole::Active).await;
        live(&[&one, &two], 1_000).await;
        two.hands.hold(true);
        let held_from = two.hands.now();
        live(&[&one, &two], 250).await;
        two.hands.journal.borrow_mut().clear();
        two.hands.hold(false);
        live(&[&one, &two], 500).await;
        let journal = two.hands.journal.borrow();
        let frames = journal
            .iter()
            .take_while(|(_, text)| text == "frame")
            .count();
        assert!(
            frames >= 4,
            "{frames} frames first, since {held_from}: {journal:?}"
        );
        assert_eq!(two.status.borrow().role, EffectiveRole::Standby);
        assert_eq!(one.status.borrow().role, EffectiveRole::Active);
    });
}

/// An order to end is obeyed: the role goes to the peer, the record is on disk, the driver ends.
#[test]
fn driver_shutdown_hands_over_and_stores_the_record() {
    story(async {
        let (one, task) = gateway(1);
        one.hands.store_takes.set(Duration::from_millis(700));
        until_role(&[&one], &one, EffectiveRole::Active).await;
        one.orders.send(Order::Shutdown).await.unwrap();
        task.await.unwrap().unwrap();
        let stored = one.hands.stored.borrow();
        let last = stored.last().and_then(|record| record.boots.last());
        assert!(last.is_some_and(|boot| boot.clean), "{stored:?}");
        assert!(
            one.hands.applied.borrow().last().is_some_and(|(_, wish)| {
                matches!(wish, Forwarding::Standby | Forwarding::Tail)
            })
        );
    });
}

/// A command is answered to whoever gave it.
#[test]
fn driver_command_is_answered() {
    story(async {
        let (one, two) = pair();
        until_role(&[&one, &two], &one, EffectiveRole::Active).await;
        live(&[&one, &two], 11_000).await;
        let (reply, answer) = oneshot::channel();
        let command = Command::TakeOver;
        two.orders
            .send(Order::Command { command, reply })
            .await
            .unwrap();
        live(&[&one, &two], 1_000).await;
        assert_eq!(answer.await, Ok(Ok(())));
        assert_eq!(two.status.borrow().role, EffectiveRole::Active);
    });
}

/// A damaged fence is known a second later, and so is its repair.
#[test]
fn driver_damaged_fence_is_told() {
    story(async {
        let (one, _) = gateway(1);
        live(&[&one], 1_500).await;
        assert!(one.status.borrow().fence_whole);
        one.hands.fence_damaged.set(true);
        live(&[&one], 1_500).await;
        assert!(!one.status.borrow().fence_whole);
        one.hands.fence_damaged.set(false);
        live(&[&one], 1_500).await;
        assert!(one.status.borrow().fence_whole);
    });
}

/// A changed configuration is taken while the node runs, and no advertisement is late for it; one
/// that needs a restart is refused, in words, and changes nothing.
#[test]
fn driver_reload_takes_what_can_be_taken() {
    story(async {
        let (one, _) = gateway(1);
        until_role(&[&one], &one, EffectiveRole::Active).await;
        let reload = async |config| {
            let (reply, answer) = oneshot::channel();
            let config = Box::new(config);
            one.orders
                .send(Order::Reload { config, reply })
                .await
                .unwrap();
            live(&[&one], 300).await;
            answer.await.unwrap()
        };
        assert_eq!(
            reload(changed(1, |it| it.policy.priority = 7)).await,
            Ok(())
        );
        let refused = reload(changed(1, |it| it.ports.retain(|port| port.id == LAN))).await;
        assert!(refused.is_err_and(|why| why.to_string().contains("port")));
        assert_eq!(one.status.borrow().role, EffectiveRole::Active);
        let said = marks(&one);
        let gap = said.windows(2).map(|two| two[1].0 - two[0].0).max();
        assert!(gap <= Some(101), "silent for {gap:?} ms");
    });
}

/// Reloads ordered while one is under way: the newest waits for its turn and is what stays, those
/// between learn that they were overtaken.
#[test]
fn driver_of_many_reloads_the_last_stays() {
    story(async {
        let (one, _) = gateway(1);
        until_role(&[&one], &one, EffectiveRole::Active).await;
        let mut answers = Vec::new();
        for role in [
            ConfiguredRole::Any,
            ConfiguredRole::Standby,
            ConfiguredRole::Active,
        ] {
            let (reply, answer) = oneshot::channel();
            let config = Box::new(changed(1, |it| it.policy.configured = role));
            let order = Order::Reload { config, reply };
            one.orders.send(order).await.unwrap();
            answers.push(answer);
        }
        live(&[&one], 300).await;
        let mut told = Vec::new();
        for answer in answers {
            told.push(answer.await.unwrap().map_err(|why| why.to_string()));
        }
        let overtaken = Err("a newer configuration took its place".to_owned());
        assert_eq!(told, [Ok(()), overtaken, Ok(())]);
        assert_eq!(one.status.borrow().configured, ConfiguredRole::Active);
    });
}
