//! Streams on the real kernel: the promises of the environment, which the simulated worlds keep
//! (`sim/src/shelled/streams/tests.rs`), kept here.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use steadfast::linux::streams::{Stream, StreamPort, TcpStreams};
use steadfast_core::PortId;
use steadfast_shell::streams::{DEADLINE, DEADLINE_GRAIN, Streams};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{self, Far};

const PORT: PortId = PortId(3);
const NUMBER: u16 = 6973;
const NEAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1));
const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2));
/// The kernel's timers are coarse, and machines are busy; the promise itself is exact.
const SLACK: Duration = Duration::from_millis(1_500);

fn streams(name: &str, own: IpAddr) -> TcpStreams {
    let port = StreamPort {
        id: PORT,
        name: name.to_owned(),
        own,
    };
    TcpStreams::new(vec![port], NUMBER)
}

/// Two machines on a cable. The far one says again what it hears, and tells how streams end.
struct Pair {
    far: Far,
    ends: Receiver<io::ErrorKind>,
    near: TcpStreams,
}

/// What the far end does once it has a stream.
#[derive(Clone, Copy)]
enum Does {
    Echo,
    /// Hears one word and ends.
    Leave,
}

impl Pair {
    fn new(does: Does) -> Self {
        let far = Far::new();
        common::ip(&format!(
            "link add near type veth peer name far netns {}",
            far.pid()
        ));
        common::ip("addr add 10.9.0.1/24 dev near");
        common::ip("link set near up");
        far.ip("addr add 10.9.0.2/24 dev far");
        far.ip("link set far up");
        super::settled("near");
        let path = format!("/proc/{}/ns/net", far.pid());
        let space = std::fs::File::open(path).expect("the far namespace");
        let (tell, ends) = channel();
        let (listening, ready) = channel();
        std::thread::spawn(move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&space), kind).expect("there");
            let ended = common::runtime().block_on(async {
                let far = streams("far", FAR);
                let mut accepting = std::pin::pin!(far.accept());
                // The first look opens the listener.
                std::future::poll_fn(|cx| {
                    let _ = accepting.as_mut().poll(cx);
                    std::task::Poll::Ready(())
                })
                .await;
                listening.send(()).expect("a test");
                let accepted = accepting.await.expect("a stream");
                assert_eq!((accepted.port, accepted.from), (PORT, NEAR));
                serve(accepted.stream, does).await
            });
            // Told once the listener is gone as well. The test may be over.
            let _ = tell.send(ended);
        });
        ready.recv().expect("a listener");
        let near = streams("near", NEAR);
        Self { far, ends, near }
    }
}

async fn serve(mut stream: Stream, does: Does) -> io::ErrorKind {
    loop {
        match say_again(&mut stream).await {
            Ok(()) if matches!(does, Does::Leave) => return io::ErrorKind::Other,
            Ok(()) => {}
            Err(why) => return why.kind(),
        }
    }
}

async fn say_again(stream: &mut Stream) -> io::Result<()> {
    let word = stream.read_u32().await?;
    stream.write_u32(word).await
}

async fn exchange(stream: &mut Stream, word: u32) -> io::Result<()> {
    stream.write_u32(word).await?;
    let echo = stream.read_u32().await?;
    assert_eq!(echo, word);
    Ok(())
}

fn assert_dies_in_time(after: Duration) {
    let latest = DEADLINE + DEADLINE_GRAIN + SLACK;
    assert!(after >= DEADLINE && after <= latest, "after {after:?}");
}

/// A cable that is pulled kills a stream in mid-talk at both ends, and no new one is had over it.
#[test]
fn streams_die_with_their_cable() {
    if !inside_own_namespace!("streams_die_with_their_cable") {
        return;
    }
    let pair = Pair::new(Does::Echo);
    common::runtime().block_on(async {
        let mut stream = pair.near.connect(PORT, FAR).await.expect("a stream");
        exchange(&mut stream, 1).await.expect("an echo");
        pair.far.ip("link set far down");
        let cut = Instant::now();
        let why = exchange(&mut stream, 2).await.expect_err("no way");
        assert_eq!(why.kind(), io::ErrorKind::TimedOut, "{why}");
        assert_dies_in_time(cut.elapsed());
        let far = pair.ends.recv_timeout(DEADLINE).expect("the far end hears");
        assert_eq!(far, io::ErrorKind::TimedOut);
        let why = pair.near.connect(PORT, FAR).await.expect_err("no way");
        assert_eq!(why.kind(), io::ErrorKind::TimedOut, "{why}");
    });
}

/// A peer that falls silent while nothing is said is found out as well: it is asked.
#[test]
fn streams_silent_peer_is_found_out() {
    if !inside_own_namespace!("streams_silent_peer_is_found_out") {
        return;
    }
    let pair = Pair::new(Does::Echo);
    common::runtime().block_on(async {
        let mut stream = pair.near.connect(PORT, FAR).await.expect("a stream");
        // Silence counts from the last word.
        let cut = Instant::now();
        exchange(&mut stream, 1).await.expect("an echo");
        // Carrier stays; what comes for the address is no business of anybody's.
        pair.far.ip("addr del 10.9.0.2/24 dev far");
        let why = stream.read_u32().await.expect_err("silence");
        assert_eq!(why.kind(), io::ErrorKind::TimedOut, "{why}");
        assert_dies_in_time(cut.elapsed());
    });
}

/// A cut that heals in time costs no byte.
#[test]
fn streams_short_cut_costs_time_and_no_byte() {
    if !inside_own_namespace!("streams_short_cut_costs_time_and_no_byte") {
        return;
    }
    let pair = Pair::new(Does::Echo);
    common::runtime().block_on(async {
        let mut stream = pair.near.connect(PORT, FAR).await.expect("a stream");
        exchange(&mut stream, 1).await.expect("an echo");
        pair.far.ip("link set far down");
        stream.write_u32(2).await.expect("room");
        pair.far.ip("link set far up");
        assert_eq!(stream.read_u32().await.expect("an echo"), 2);
        exchange(&mut stream, 3).await.expect("an echo");
    });
}

/// A process that ends is known at once, and so is that nobody listens.
#[test]
fn streams_ended_peer_is_known_at_once() {
    if !inside_own_namespace!("streams_ended_peer_is_known_at_once") {
        return;
    }
    let pair = Pair::new(Does::Leave);
    common::runtime().block_on(async {
        let mut stream = pair.near.connect(PORT, FAR).await.expect("a stream");
        exchange(&mut stream, 1).await.expect("an echo");
        let began = Instant::now();
        let why = stream.read_u32().await.expect_err("its end");
        assert_eq!(why.kind(), io::ErrorKind::UnexpectedEof);
        assert!(began.elapsed() < DEADLINE);
        pair.ends.recv_timeout(DEADLINE).expect("the far end");
        let why = pair.near.connect(PORT, FAR).await.expect_err("nobody");
        assert_eq!(why.kind(), io::ErrorKind::ConnectionRefused, "{why}");
        let why = pair
            .near
            .connect(PortId(9), FAR)
            .await
            .expect_err("no port");
        assert_eq!(why.kind(), io::ErrorKind::NotFound);
    });
}
