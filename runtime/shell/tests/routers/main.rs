//! Virtual routers on a desk: who serves, who is late, whose kernel refuses, whose link is lost.

mod desk;

use std::time::Duration;

use steadfast_core::PortId;
use steadfast_core::effect::Failure;
use steadfast_core::wire::vrrp::RESIGNS;
use steadfast_shell::vrrp::{Done, Order, Stands, Wish};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::sleep;

use desk::{LAN, Running, wired};

const WAN: PortId = PortId(1);

async fn on_a_desk(story: impl Future<Output = ()>) {
    LocalSet::new().run_until(story).await;
}

/// The one of higher priority serves, and says so when the kernel does, not before; the other
/// waits. Hosts are told four times.
#[tokio::test(start_paused = true)]
async fn routers_better_one_serves_and_speaks_when_the_kernel_does() {
    on_a_desk(async {
        let mut better = Running::start(2, 200);
        let mut other = Running::start(3, 100);
        wired(&better, &other);
        better.hands.takes.set(Duration::from_millis(20));
        // Three intervals and the skew of 56/256 of one; the desk's clock counts milliseconds.
        assert_eq!(better.stands(Stands::Active).await, 322);
        sleep(Duration::from_secs(6)).await;
        assert_eq!(other.status().state, Stands::Backup);
        assert_eq!(
            better.left()[..2],
            [(342, 200), (422, 200)],
            "when the kernel served"
        );
        assert_eq!(
            *better.hands.announced.borrow(),
            [342, 342, 355, 355, 1342, 1342, 5342, 5342]
        );
        assert!(better.status().serving && other.hands.wished.borrow().is_empty());
        assert_eq!(other.stands(Stands::Backup).await, 0);
    })
    .await;
}

/// Whoever is asked to end says so: the other takes over after its skew alone.
#[tokio::test(start_paused = true)]
async fn routers_end_in_order_and_the_other_takes_over_at_once() {
    on_a_desk(async {
        let mut better = Running::start(2, 200);
        let mut other = Running::start(3, 100);
        wired(&better, &other);
        better.stands(Stands::Active).await;
        sleep(Duration::from_secs(1)).await;
        let at = better.hands.millis();
        better.orders.send(Order::Shutdown).await.unwrap();
        let skew = 60;
        let taken = other.stands(Stands::Active).await;
        assert!((at + skew..at + skew + 2).contains(&taken), "{at}, {taken}");
        (&mut better.ended).await.unwrap().unwrap();
        assert_eq!(better.left().last().unwrap().1, RESIGNS);
        assert_eq!(
            better.hands.wished.borrow().last().unwrap().1,
            Wish::Withdraw
        );
        assert!(!better.hands.leased());
    })
    .await;
}

/// An operator lets another one serve; who is no active router has nothing to resign. With
/// preemption the better one comes back after its down interval.
#[tokio::test(start_paused = true)]
async fn routers_resign_by_order() {
    on_a_desk(async {
        let mut better = Running::start(2, 200);
        let mut other = Running::start(3, 100);
        wired(&better, &other);
        better.stands(Stands::Active).await;
        sleep(Duration::from_secs(1)).await;
        for (router, active) in [(&other, false), (&better, true)] {
            let (reply, answer) = oneshot::channel();
            router.orders.send(Order::Resign(0, reply)).await.unwrap();
            assert_eq!(answer.await, Ok(active));
        }
        other.stands(Stands::Active).await;
        let back = better.stands(Stands::Active).await;
        assert!(back > 1_600, "{back}");
        other.stands(Stands::Backup).await;
    })
    .await;
}

/// A router that stood still for longer than its lease hears first who serves now, and what it
/// says does not leave: it begins anew, and comes back in order.
#[tokio::test(start_paused = true)]
async fn routers_late_one_owns_nothing() {
    on_a_desk(async {
        let mut better = Running::start(2, 200);
        let mut other = Running::start(3, 100);
        wired(&better, &other);
        better.stands(Stands::Active).await;
        sleep(Duration::from_secs(1)).await;
        better.hands.hold(true);
        other.stands(Stands::Active).await;
        sleep(Duration::from_millis(500)).await;
        assert!(!better.hands.leased(), "its lease ended by itself");
        better.hands.hold(false);
        better.stands(Stands::Backup).await;
        assert_eq!(better.status().why, "its lease had ended: it was late");
        let lapsed = ("lease_lapsed".to_owned(), 1);
        assert!(
            better.status().counters.contains(&lapsed),
            "{:?}",
            better.status()
        );
        better.stands(Stands::Active).await;
        other.stands(Stands::Backup).await;
    })
    .await;
}

/// A kernel that refuses makes no silent half: nothing is said, and it is tried again a second
/// later.
#[tokio::test(start_paused = true)]
async fn routers_refused_by_the_kernel_try_again() {
    on_a_desk(async {
        let mut router = Running::start(2, 200);
        router.hands.refuses.set(true);
        router.stands(Stands::Active).await;
        router.stands(Stands::Initialize).await;
        assert_eq!(router.status().why, "the kernel refused the addresses");
        assert_eq!(router.left(), []);
        router.hands.refuses.set(false);
        let back = router.stands(Stands::Active).await;
        assert!((1_322..1_332 + 322).contains(&back), "{back}");
        sleep(Duration::from_millis(10)).await;
        assert!(router.status().serving || !router.left().is_empty());
    })
    .await;
}

/// A lost link ends it at once; when the link is back it waits as after a start.
#[tokio::test(start_paused = true)]
async fn routers_follow_their_link() {
    on_a_desk(async {
        let mut router = Running::start(2, 200);
        router.stands(Stands::Active).await;
        router.hands.link(LAN, false);
        router.stands(Stands::Initialize).await;
        sleep(Duration::from_millis(10)).await;
        assert!(!router.hands.leased());
        let at = router.hands.millis();
        router.hands.link(LAN, true);
        assert_eq!(router.stands(Stands::Active).await, at + 322);
    })
    .await;
}

/// A link that it cannot do without is as its own: it runs only while both are up, and says which
/// one it lacks.
#[tokio::test(start_paused = true)]
async fn routers_do_not_run_without_a_tracked_link() {
    on_a_desk(async {
        let mut router = Running::tracking(2, 200, &[WAN], None);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(
            router.status().state,
            Stands::Initialize,
            "nobody told of the other link"
        );
        let at = router.hands.millis();
        router.hands.link(WAN, true);
        assert_eq!(router.stands(Stands::Active).await, at + 322);
        router.hands.link(WAN, false);
        router.stands(Stands::Initialize).await;
        assert_eq!(router.status().why, "wan0, which it tracks, is down");
    })
    .await;
}

/// A link that only weighs makes it weaker while it is down: the other one takes over, and gives
/// back when it is up again.
#[tokio::test(start_paused = true)]
async fn routers_grow_weaker_with_a_tracked_link() {
    on_a_desk(async {
        let mut better = Running::tracking(2, 200, &[WAN], Some(150));
        let mut other = Running::start(3, 100);
        wired(&better, &other);
        better.hands.link(WAN, true);
        better.stands(Stands::Active).await;
        sleep(Duration::from_secs(1)).await;
        better.hands.link(WAN, false);
        other.stands(Stands::Active).await;
        better.stands(Stands::Backup).await;
        assert_eq!(better.status().priority, 50);
        better.hands.link(WAN, true);
        better.stands(Stands::Active).await;
        assert_eq!(better.status().priority, 200);
        other.stands(Stands::Backup).await;
    })
    .await;
}

/// A backup that stood still hears first that somebody serves, however long its time is over (D6).
#[tokio::test(start_paused = true)]
async fn routers_late_backup_hears_before_it_judges() {
    on_a_desk(async {
        let mut better = Running::start(2, 200);
        let mut other = Running::start(3, 100);
        wired(&better, &other);
        better.stands(Stands::Active).await;
        other.stands(Stands::Backup).await;
        other.hands.hold(true);
        sleep(Duration::from_secs(2)).await;
        other.hands.hold(false);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(other.status().state, Stands::Backup);
        assert!(
            other.hands.wished.borrow().is_empty(),
            "it never thought of serving"
        );
    })
    .await;
}

/// A lease that is gone is told by the kernel unasked, and the router does not go on.
#[tokio::test(start_paused = true)]
async fn routers_told_that_their_lease_is_gone_begin_anew() {
    on_a_desk(async {
        let mut router = Running::start(2, 200);
        router.stands(Stands::Active).await;
        sleep(Duration::from_secs(1)).await;
        router.hands.lease.set(None);
        router.hands.done.borrow_mut().push_back(Done {
            router: 0,
            turn: 1,
            wish: Wish::Look,
            outcome: Err(Failure::LeaseLapsed),
        });
        router.hands.finished.notify_one();
        router.stands(Stands::Backup).await;
        router.stands(Stands::Active).await;
    })
    .await;
}

/// Words that do not leave although the lease lives: a full queue. Others take over soon, so it
/// gives up, and tries again later.
#[tokio::test(start_paused = true)]
async fn routers_whose_words_do_not_leave_give_up() {
    on_a_desk(async {
        let mut router = Running::start(2, 200);
        router.stands(Stands::Active).await;
        sleep(Duration::from_secs(1)).await;
        router.hands.congested.set(true);
        let at = router.hands.millis();
        let gone = router.stands(Stands::Initialize).await;
        assert!(gone <= at + 300, "before others take over: {at}, {gone}");
        assert!(
            router.status().why.contains("congested"),
            "{:?}",
            router.status()
        );
        router.hands.congested.set(false);
        router.stands(Stands::Active).await;
    })
    .await;
}

/// What the kernel could not take back is asked for again.
#[tokio::test(start_paused = true)]
async fn routers_ask_again_for_a_withdrawal() {
    on_a_desk(async {
        let mut router = Running::start(2, 200);
        router.stands(Stands::Active).await;
        sleep(Duration::from_secs(1)).await;
        router.hands.keeps.set(true);
        router.hands.link(LAN, false);
        router.stands(Stands::Initialize).await;
        sleep(Duration::from_millis(1_500)).await;
        router.hands.keeps.set(false);
        sleep(Duration::from_millis(1_100)).await;
        let wished = router.hands.wished.borrow();
        let withdrawn = wished.iter().filter(|(_, wish)| *wish == Wish::Withdraw);
        assert_eq!(withdrawn.count(), 3, "{wished:?}");
    })
    .await;
}
