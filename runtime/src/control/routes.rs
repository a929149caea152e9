//! The requests control understands, and their answers.

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use steadfast_core::effect::{Command, Rejection};
use steadfast_shell::orders::Order;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::follow::{Asked, mark, wait_for_change};
use super::socket::{Peer, Rights};
use super::{BODY_BYTES_MAX, DaemonFacts, Shared, diagnose, explain};
use crate::linux::view::{View, view};

/// An error as it is sent.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fault {
    #[serde(skip)]
    status: u16,
    /// What is wrong.
    pub(super) error: String,
    /// What to do about it.
    pub(super) cure: String,
}

pub(super) type Answer = Result<Json<serde_json::Value>, Fault>;
pub(super) type Body = Result<Bytes, BytesRejection>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Maintenance {
    on: bool,
}

/// All routes.
pub(super) fn router(shared: Shared, rights: Rights) -> Router {
    let order = |command: Command| {
        post(move |State(shared): State<Shared>, body: Body| async move {
            nothing(&body?)?;
            order(&shared, command).await
        })
    };
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/explain", get(explanation))
        .route("/v1/interfaces", get(interfaces))
        .route("/v1/config", get(config))
        .route("/v1/takeover", order(Command::TakeOver))
        .route("/v1/release", order(Command::Release))
        .route("/v1/enable", order(Command::Enable))
        .route("/v1/clear-pacified", order(Command::ClearPacified))
        .route("/v1/maintenance", post(maintenance))
        .route("/v1/reload", post(reload))
        .route("/v1/shutdown", post(shutdown))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(rights, permit))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(shared)
}

/// Others may look at status and explanations; all else is for those with rights.
pub(super) async fn permit(
    State(rights): State<Rights>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let open =
        ["/v1/status", "/v1/explain", "/v1/interfaces", "/v1/vrrp"].contains(&request.uri().path());
    if (open && request.method() == Method::GET) || peer.may_command(rights) {
        return next.run(request).await;
    }
    log::warn!(
        "control: refused {} {} by user {} (process {})",
        request.method(),
        request.uri().path(),
        peer.uid,
        peer.pid
    );
    let error = format!("user {} may not do this", peer.uid);
    let cure = "ask as root, or become a member of the control group";
    Fault::new(StatusCode::FORBIDDEN, error, cure).into_response()
}

async fn status(State(shared): State<Shared>, uri: Uri) -> Answer {
    let asked = Asked::of(&uri).map_err(|error| {
        let cure = "ask with ?after=MARK of an earlier answer, and &wait=MILLISECONDS";
        Fault::new(StatusCode::BAD_REQUEST, error, cure)
    })?;
    if let Some(asked) = asked {
        wait_for_change(shared.status.clone(), &shared.followers, &asked).await;
    }
    let status = Arc::clone(&shared.status.borrow());
    let facts = shared.daemon.facts();
    let troubles = diagnose(&status, &facts);
    Ok(Json(json!({
        "status": &*status,
        "mark": mark(&status),
        "daemon": facts,
        "troubles": troubles,
    })))
}

async fn explanation(State(shared): State<Shared>) -> Answer {
    let status = Arc::clone(&shared.status.borrow());
    let explanation = explain(&status, &shared.daemon.facts(), &shared.history());
    Ok(Json(json!(explanation)))
}

/// What this gateway's interfaces are, and what each is for (R4.3).
async fn interfaces(State(shared): State<Shared>) -> Answer {
    let facts = shared.daemon.facts();
    let names = facts.port_names.values().map(String::as_str);
    let views = view(names).map_err(|why| {
        let error = format!("the kernel does not tell of its interfaces: {why}");
        let cure = "try again; `ip -s link` asks it directly";
        Fault::new(StatusCode::INTERNAL_SERVER_ERROR, error, cure)
    })?;
    let shown: Vec<_> = views.iter().map(|one| shown(one, &facts)).collect();
    Ok(Json(json!({ "interfaces": shown })))
}

fn shown(view: &View, facts: &DaemonFacts) -> serde_json::Value {
    let port = facts
        .port_names
        .iter()
        .find(|(_, name)| **name == view.name);
    let uses = port.map_or_else(
        || vec!["virtual MAC"],
        |(port, _)| {
            let uses = [
                ("serves", &facts.served_ports),
                ("heartbeat", &facts.heartbeat_ports),
                ("secondary path", &facts.secondary_ports),
                ("direct cable", &facts.direct_ports),
                ("watched", &facts.watched_ports),
            ];
            let of = uses.iter().filter(|(_, ports)| ports.contains(port));
            of.map(|(use_, _)| *use_).collect()
        },
    );
    let mut shown = json!(view);
    shown["uses"] = json!(uses);
    shown
}

async fn config(State(shared): State<Shared>) -> Answer {
    let path = shared.daemon.facts().config_path;
    Ok(Json(
        json!({ "path": path, "text": shared.daemon.config_text() }),
    ))
}

async fn maintenance(State(shared): State<Shared>, body: Body) -> Answer {
    let Maintenance { on } = serde_json::from_slice(&body?).map_err(|why| {
        let error = format!("the body is not understood: {why}");
        Fault::new(
            StatusCode::BAD_REQUEST,
            error,
            "send {\"on\": true} or {\"on\": false}",
        )
    })?;
    let command = if on {
        Command::MaintenanceOn
    } else {
        Command::MaintenanceOff
    };
    order(&shared, command).await
}

async fn reload(State(shared): State<Shared>, body: Body) -> Answer {
    nothing(&body?)?;
    let deadline = Instant::now() + shared.answer_wait;
    let daemon = shared.daemon.clone();
    let orders = shared.orders.clone();
    let loading = tokio::task::spawn_blocking(move || daemon.order_reload(&orders));
    let loaded = timeout_at(deadline, loading).await.map_err(|_| late())?;
    let ordered = loaded.map_err(|_| gone())?;
    let refused = |error: String| {
        let cure = "correct the file and reload again; the old configuration stays in force";
        Fault::new(StatusCode::CONFLICT, error, cure)
    };
    let answer = ordered.map_err(refused)?;
    let answered = timeout_at(deadline, answer).await.map_err(|_| late())?;
    match answered.map_err(|_| gone())? {
        Ok(()) => Ok(done()),
        Err(why) => Err(refused(why.to_string())),
    }
}

async fn shutdown(State(shared): State<Shared>, body: Body) -> Answer {
    nothing(&body?)?;
    let deadline = Instant::now() + shared.answer_wait;
    let sending = shared.orders.send(Order::Shutdown);
    let sent = timeout_at(deadline, sending).await.map_err(|_| late())?;
    sent.map(|()| done()).map_err(|_| gone())
}

async fn order(shared: &Shared, command: Command) -> Answer {
    let deadline = Instant::now() + shared.answer_wait;
    let (reply, answer) = oneshot::channel();
    match send(shared, deadline, Order::Command { command, reply }, answer).await? {
        Ok(()) => Ok(done()),
        Err(rejection) => Err(Fault::new(
            StatusCode::CONFLICT,
            format!("refused: {rejection}"),
            cure_of(rejection),
        )),
    }
}

/// Sends an order and waits for its answer, both until the deadline.
async fn send<T>(
    shared: &Shared,
    deadline: Instant,
    order: Order,
    answer: oneshot::Receiver<T>,
) -> Result<T, Fault> {
    let sent = timeout_at(deadline, shared.orders.send(order)).await;
    sent.map_err(|_| late())?.map_err(|_| gone())?;
    let answered = timeout_at(deadline, answer).await;
    answered.map_err(|_| late())?.map_err(|_| gone())
}

/// These requests carry nothing, or an empty object.
pub(super) fn nothing(body: &Bytes) -> Result<(), Fault> {
    if matches!(body.trim_ascii(), b"" | b"{}") {
        return Ok(());
    }
    let error = "this request takes no body".to_owned();
    Err(Fault::new(
        StatusCode::BAD_REQUEST,
        error,
        "send it without a body",
    ))
}

pub(super) fn done() -> Json<serde_json::Value> {
    Json(json!({ "done": true }))
}

pub(super) async fn unknown(request: Request) -> Fault {
    let error = format!("{} is not known here", request.uri().path());
    Fault::new(
        StatusCode::NOT_FOUND,
        error,
        "use the steadfastctl of the same version",
    )
}

pub(super) async fn wrong_method(request: Request) -> Fault {
    let error = format!(
        "{} does not go with {}",
        request.method(),
        request.uri().path()
    );
    let cure = "read with GET, order with POST";
    Fault::new(StatusCode::METHOD_NOT_ALLOWED, error, cure)
}

pub(super) fn late() -> Fault {
    let error = "the node did not answer in time".to_owned();
    let cure = "look at status: the order may still be carried out, or another one is under way";
    Fault::new(StatusCode::GATEWAY_TIMEOUT, error, cure)
}

pub(super) fn gone() -> Fault {
    let error = "the node has ended".to_owned();
    let cure = "look at the log of steadfastd and start it again";
    Fault::new(StatusCode::SERVICE_UNAVAILABLE, error, cure)
}

const fn cure_of(rejection: Rejection) -> &'static str {
    match rejection {
        Rejection::Busy => "wait for the hand-over to end, then ask again",
        Rejection::NotNow => "look at `steadfastctl explain`: it says what the role waits for",
        Rejection::NoPeer => "bring a peer into service first; `steadfastctl status` lists them",
        Rejection::TimedOut => "look at the peer's status and log, then ask again",
        Rejection::TooFar => "mend a nearer path, or set `offer` to twice the round trip or more",
    }
}

impl Fault {
    pub(super) fn new(status: StatusCode, error: String, cure: &str) -> Self {
        Self {
            status: status.as_u16(),
            error,
            cure: cure.to_owned(),
        }
    }
}

impl From<BytesRejection> for Fault {
    fn from(why: BytesRejection) -> Self {
        let error = why.body_text();
        let cure = "send a body of at most 64 KiB";
        Self::new(why.status(), error, cure)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status);
        (
            status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            Json(self),
        )
            .into_response()
    }
}
