//! A service that clients of a gateway use, for checks that look at it: a web server that is ready,
//! says that it is not, or accepts and says nothing.
//!
//! Two files steer it, as they do other checks: while the first is there it is ready, while the
//! second is there it is silent. Connections are served one after the other; silent ones are held,
//! the oldest of more than [`HELD_MAX`] is let go. It runs until its box has no power.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Most connections that are held in silence.
const HELD_MAX: usize = 64;
/// How long a client may take to ask.
const PATIENCE: Duration = Duration::from_millis(100);

/// Serves on a port of the loopback; `args` are its number and the two files.
pub(super) fn main(args: &[OsString]) -> ExitCode {
    let [port, ready, silent] = args else {
        return ExitCode::FAILURE;
    };
    let port = port.to_string_lossy().parse::<u16>();
    let listener = port.map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
    let Ok(Ok(listener)) = listener else {
        return ExitCode::FAILURE;
    };
    let mut held: Vec<TcpStream> = Vec::new();
    for stream in listener.incoming().flatten() {
        if Path::new(silent).exists() {
            if held.len() == HELD_MAX {
                held.remove(0);
            }
            held.push(stream);
        } else {
            held.clear();
            answer(stream, Path::new(ready).exists());
        }
    }
    ExitCode::SUCCESS
}

/// A client that goes away, or asks nothing, has no answer to wait for.
fn answer(mut stream: TcpStream, ready: bool) {
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let _ = stream.read(&mut [0; 1_024]);
    let status = if ready { "200 OK" } else { "503 Not Now" };
    let _ = stream.write_all(format!("HTTP/1.0 {status}\r\n\r\n").as_bytes());
}
