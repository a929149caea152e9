//! The socket against the real kernel, as far as an ordinary user may go, and the bytes alone.

use proptest::prelude::*;

use super::*;

const NETLINK_ROUTE: i32 = 0;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_DELLINK: u16 = 17;
const IFLA_IFNAME: u16 = 3;

fn link_header(index: i32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header
}

/// netlink: a dump of links names the loopback: every namespace has one, and anybody may ask.
#[test]
fn netlink_dump_of_links_names_the_loopback() {
    let mut netlink = Netlink::open(NETLINK_ROUTE).unwrap();
    let links = netlink
        .dump(|batch| drop(batch.message("list links", RTM_GETLINK, 0, &link_header(0))))
        .unwrap();
    let names = links.iter().filter_map(|link| {
        assert_eq!(link.kind, RTM_NEWLINK);
        find(&link.body[16..], IFLA_IFNAME)
    });
    assert!(names.into_iter().any(|name| name == b"lo\0"));
}

/// netlink: of a batch, each refusal comes back with its place, name and errno, and what was
/// carried out leaves no trace: nothing is lost among many answers.
#[test]
fn netlink_batch_names_each_refused_message() {
    let mut netlink = Netlink::open(NETLINK_ROUTE).unwrap();
    let mut batch = Batch::new();
    batch.message("ask for lo", RTM_GETLINK, 0, &link_header(1));
    for index in 1..100 {
        let what = format!("ask for link {index}");
        batch.message(what, RTM_GETLINK, 0, &link_header(1_000_000 + index));
    }
    let refused = netlink.exchange(batch, Ack::Each).unwrap();
    assert_eq!(refused.len(), 99);
    assert_eq!(
        (refused[41].index, &*refused[41].what),
        (42, "ask for link 42")
    );
    let no_device = rustix::io::Errno::NODEV.raw_os_error();
    assert!(
        refused
            .iter()
            .all(|one| one.error.raw_os_error() == Some(no_device))
    );
}

/// netlink: a refusal carries the kernel's own words where it has any.
#[test]
fn netlink_refusal_carries_the_kernels_words() {
    let mut netlink = Netlink::open(NETLINK_ROUTE).unwrap();
    let mut batch = Batch::new();
    batch.message("delete nothing", RTM_DELLINK, 0, &[0; 4]);
    let refused = netlink.exchange(batch, Ack::Last).unwrap();
    assert_eq!(refused.len(), 1, "a cut header is refused to everybody");
    assert_eq!(refused[0].what, "delete nothing");

    let (len, text) = (12_u16.to_ne_bytes(), b"too bad\0");
    let words = [&len[..], &TEXT.to_ne_bytes(), text].concat();
    let code = (-1_i32).to_ne_bytes();
    let echo = 20_u32.to_ne_bytes();
    let whole = [&code[..], &echo, &[7; 16], &words].concat();
    let capped = [&code[..], &echo, &[7; 12], &words].concat();
    for (flags, body) in [(HAS_TEXT, whole), (HAS_TEXT | CAPPED, capped)] {
        let refused = refusal(0, "x".into(), flags, &body).unwrap();
        assert_eq!(refused.text.as_deref(), Some("too bad"));
        assert_eq!(refused.error.raw_os_error(), Some(1));
    }
}

/// netlink: answers that a former holder left unread are thrown away, so that a socket passed on
/// by another process answers the questions of its new holder.
#[test]
fn netlink_inherited_socket_forgets_unread_answers() {
    let first = Netlink::open(NETLINK_ROUTE).unwrap();
    let mut batch = Batch::new();
    batch.message("ask for lo", RTM_GETLINK, ACK, &link_header(1));
    let plan = batch.finish(Ack::Each).unwrap();
    rustix::net::send(&first, &plan.bytes, SendFlags::empty()).unwrap();

    let port = first.port().unwrap();
    let mut heir = Netlink::from_fd(first.as_fd().try_clone_to_owned().unwrap()).unwrap();
    drop(first);
    assert_eq!(heir.port().unwrap(), port, "the same socket");
    let mut question = Batch::new();
    question.message("ask for lo", RTM_GETLINK, 0, &link_header(1));
    assert_eq!(heir.ask(question).unwrap().len(), 1);
}

/// netlink: what is written is what is read, nests and paddings included.
#[test]
fn netlink_attributes_come_back_as_written() {
    let mut batch = Batch::new();
    batch
        .message("a message", 77, CREATE, &[1, 2, 3, 4])
        .put_text(1, "lan0")
        .nest(2, |inner| {
            inner.put_be32(3, 0xdead_beef).put(4, &[9]);
        })
        .put_be64(5, 6);
    let bytes = batch.finish(Ack::Last).unwrap().bytes;
    let mut seen = 0;
    messages(&bytes, &mut |kind, flags, _, body| {
        seen += 1;
        assert_eq!((kind, flags), (77, REQUEST | CREATE | ACK));
        assert_eq!(body[..4], [1, 2, 3, 4]);
        let body = &body[4..];
        assert_eq!(find(body, 1), Some(&b"lan0\0"[..]));
        let inner = find(body, 2).unwrap();
        assert_eq!(find(inner, 3), Some(&0xdead_beef_u32.to_be_bytes()[..]));
        assert_eq!(find(inner, 4), Some(&[9][..]));
        assert_eq!(find(body, 5).and_then(u64_of), Some(6));
    });
    assert_eq!(seen, 1);
}

proptest! {
    /// netlink: no bytes whatever make the readers panic or run on without end.
    #[test]
    fn netlink_readers_survive_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut count = 0;
        messages(&bytes, &mut |_, flags, _, body| {
            count += attributes(body).count();
            let _ = refusal(0, "x".into(), flags, body);
        });
        prop_assert!(count <= bytes.len());
    }
}
