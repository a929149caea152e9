//! One request at a time to the control socket, and the answer within bounds.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

/// Bytes of an answer; a longer one is an error.
pub const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a request may take in all: a little longer than the daemon's own bound.
const WAIT: Duration = Duration::from_secs(12);

/// Why there is no answer, or not the wanted one.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The daemon says no.
    #[error("{error}")]
    Refused {
        /// What it says.
        error: String,
        /// What it advises.
        cure: String,
    },
    /// What answers does not speak like a daemon of ours.
    #[error("the daemon's answer is not understood: {0}")]
    Unclear(String),
    /// Nobody answers.
    #[error("no daemon answers at {path}: {why}")]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// The reason.
        why: io::Error,
    },
}

impl ClientError {
    /// What to do about it.
    pub fn cure(&self) -> String {
        match self {
            Self::Refused { cure, .. } => cure.clone(),
            Self::Unclear(_) => "use the steadfastctl of the daemon's version".to_owned(),
            Self::Unreachable { why, .. } if why.kind() == io::ErrorKind::PermissionDenied => {
                "ask as root, or as a member of the control group".to_owned()
            }
            Self::Unreachable { why, .. } if why.kind() == io::ErrorKind::TimedOut => {
                "the daemon runs but hangs: look at its log".to_owned()
            }
            Self::Unreachable { .. } => "is it running? `systemctl status steadfastd` (or \
                                         steadfastd-vrrp); another socket is named with --socket"
                .to_owned(),
        }
    }
}

/// Asks the daemon at a socket.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    runtime: Runtime,
}

impl Client {
    /// A client for the daemon at `path`; connects with each request.
    ///
    /// # Errors
    /// The operating system gives no event queue.
    pub fn new(path: PathBuf) -> Result<Self, ClientError> {
        let made = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match made {
            Ok(runtime) => Ok(Self { path, runtime }),
            Err(why) => Err(ClientError::Unreachable { path, why }),
        }
    }

    /// Reads something.
    ///
    /// # Errors
    /// The daemon does not answer, or refuses.
    pub fn read(&self, route: &str) -> Result<Value, ClientError> {
        self.ask(Method::GET, route, String::new())
    }

    /// Orders something; `body` null sends none.
    ///
    /// # Errors
    /// The daemon does not answer, or refuses.
    pub fn order(&self, route: &str, body: &Value) -> Result<Value, ClientError> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.ask(Method::POST, route, body)
    }

    fn ask(&self, method: Method, route: &str, body: String) -> Result<Value, ClientError> {
        let asked = async { tokio::time::timeout(WAIT, self.exchange(method, route, body)).await };
        match self.runtime.block_on(asked) {
            Ok(answer) => answer,
            Err(late) => Err(self.unreachable(io::Error::new(io::ErrorKind::TimedOut, late))),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        route: &str,
        body: String,
    ) -> Result<Value, ClientError> {
        let stream = UnixStream::connect(&self.path).await;
        let stream = TokioIo::new(stream.map_err(|why| self.unreachable(why))?);
        let broken = |why: hyper::Error| self.unreachable(io::Error::other(why));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream)
            .await
            .map_err(broken)?;
        let request = Request::builder()
            .method(method)
            .uri(route)
            .header("host", "steadfast")
            .header("content-type", "application/json")
            .header("connection", "close")
            .body(Full::new(Bytes::from(body)))
            .map_err(unclear)?;
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(broken)?;
            let good = answer.status().is_success();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
            let bytes = body.collect().await.map_err(unclear)?.to_bytes();
            Ok((good, bytes))
        };
        let driven = async {
            // How the connection ended shows in the exchange; after it, it does not matter.
            let _ = connection.await;
            std::future::pending::<()>().await;
        };
        let (good, bytes) = tokio::select! {
            result = exchange => result?,
            () = driven => return Err(unclear("the connection ended")),
        };
        let value: Value = serde_json::from_slice(&bytes).map_err(unclear)?;
        if good {
            Ok(value)
        } else {
            Err(refused(&value))
        }
    }

    fn unreachable(&self, why: io::Error) -> ClientError {
        let path = self.path.clone();
        ClientError::Unreachable { path, why }
    }
}

fn unclear(why: impl Display) -> ClientError {
    ClientError::Unclear(format!("{why}"))
}

fn refused(value: &Value) -> ClientError {
    let text = |name: &str| {
        value
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or("?")
            .to_owned()
    };
    ClientError::Refused {
        error: text("error"),
        cure: text("cure"),
    }
}
