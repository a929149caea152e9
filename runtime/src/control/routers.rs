//! Control of virtual routers: what operators ask and order there.
//!
//! ```text
//! GET  /v1/vrrp                          whoever may connect
//! POST /v1/vrrp/resign {"interface": "lan0", "virtual_router": 51, "family": 4}
//! POST /v1/shutdown                      root, the daemon's own user, the control group
//! ```
//! Socket, bounds, rights and errors are those of a node's control.

use std::io;
use std::path::PathBuf;
use std::thread;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use steadfast_core::Instant;
use steadfast_core::wire::vrrp::OWNER;
use steadfast_shell::vrrp::{Order, Orders, RouterStatus};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::routes::{
    Answer, Body, Fault, done, gone, late, nothing, permit, unknown, wrong_method,
};
use super::{ANSWER_WAIT, BODY_BYTES_MAX, Bound, Control, socket};
use crate::linux::clock::Monotonic;

/// What only the daemon knows of itself.
#[derive(Clone, Debug)]
pub struct RouterFacts {
    /// Version and build id.
    pub build: String,
    /// Process id.
    pub pid: u32,
    /// The configuration file.
    pub config_path: PathBuf,
    /// How the kernel's fence is made, in words.
    pub fence: String,
    /// What was noticed in the configuration.
    pub notes: Vec<String>,
    /// The driver's clock.
    pub time: Monotonic,
}

/// The answer to `/v1/vrrp`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RoutersTold {
    /// The time at the driver's clock; ages are counted from it.
    pub now: Instant,
    /// Version and build id.
    pub build: String,
    /// Process id.
    pub pid: u32,
    /// The configuration file.
    pub config_path: PathBuf,
    /// How the kernel's fence is made, in words.
    pub fence: String,
    /// What was noticed in the configuration.
    pub notes: Vec<String>,
    /// Every router.
    pub routers: Vec<RouterStatus>,
}

#[derive(Clone)]
struct Shared {
    orders: Orders,
    statuses: watch::Receiver<Vec<RouterStatus>>,
    facts: RouterFacts,
}

/// Which router is meant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    interface: String,
    virtual_router: u8,
    family: u8,
}

impl Control {
    /// As [`Control::start`], for the daemon of virtual routers.
    ///
    /// # Errors
    /// No thread can be made.
    pub fn start_routers(
        bound: Bound,
        orders: Orders,
        statuses: watch::Receiver<Vec<RouterStatus>>,
        facts: RouterFacts,
    ) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let shared = Shared {
            orders,
            statuses,
            facts,
        };
        let thread = thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || serve(&bound, shared, stopped))?;
        Ok(Self { stop, thread })
    }
}

fn serve(bound: &Bound, shared: Shared, stopped: oneshot::Receiver<()>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let gate = bound.listen()?;
        let app = Router::new()
            .route("/v1/vrrp", get(told))
            .route("/v1/vrrp/resign", post(resign))
            .route("/v1/shutdown", post(shutdown))
            .fallback(unknown)
            .method_not_allowed_fallback(wrong_method)
            .layer(middleware::from_fn_with_state(bound.rights(), permit))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(shared);
        let app = app.into_make_service_with_connect_info::<socket::Peer>();
        tokio::select! {
            biased;
            _ = stopped => Ok(()),
            result = async { axum::serve(gate, app).await } => result,
        }
    })
}

async fn told(State(shared): State<Shared>) -> Answer {
    let Shared {
        statuses, facts, ..
    } = shared;
    let told = RoutersTold {
        now: facts.time.now(),
        build: facts.build,
        pid: facts.pid,
        config_path: facts.config_path,
        fence: facts.fence,
        notes: facts.notes,
        routers: statuses.borrow().clone(),
    };
    Ok(Json(json!(told)))
}

async fn resign(State(shared): State<Shared>, body: Body) -> Answer {
    let named: Named = serde_json::from_slice(&body?).map_err(|why| {
        let cure = "send {\"interface\": \"lan0\", \"virtual_router\": 51, \"family\": 4}";
        let error = format!("the body is not understood: {why}");
        Fault::new(StatusCode::BAD_REQUEST, error, cure)
    })?;
    let is_meant = |it: &RouterStatus| {
        it.interface == named.interface
            && (it.virtual_router, it.family) == (named.virtual_router, named.family)
    };
    let place = shared.statuses.borrow().iter().position(is_meant);
    let Some(place) = place else {
        let error = format!(
            "there is no virtual router {} on {} over IPv{}",
            named.virtual_router, named.interface, named.family
        );
        let cure = "`steadfastctl vrrp` lists them";
        return Err(Fault::new(StatusCode::NOT_FOUND, error, cure));
    };
    if shared
        .statuses
        .borrow()
        .get(place)
        .is_some_and(|it| it.priority == OWNER)
    {
        let error = "this router owns its addresses and would go on answering for them";
        let cure = "take them from its link, or give it a priority below 255";
        return Err(Fault::new(StatusCode::CONFLICT, error.to_owned(), cure));
    }
    let (reply, answer) = oneshot::channel();
    match give(&shared.orders, Order::Resign(place, reply), answer).await? {
        true => Ok(done()),
        false => {
            let cure = "nothing is to be done: another router serves";
            let error = "this router is not active";
            Err(Fault::new(StatusCode::CONFLICT, error.to_owned(), cure))
        }
    }
}

async fn shutdown(State(shared): State<Shared>, body: Body) -> Answer {
    nothing(&body?)?;
    let sent = timeout(ANSWER_WAIT, shared.orders.send(Order::Shutdown)).await;
    let sent = sent.map_err(|_| late())?;
    sent.map(|()| done()).map_err(|_| gone())
}

async fn give(
    orders: &Orders,
    order: Order,
    answer: oneshot::Receiver<bool>,
) -> Result<bool, Fault> {
    let given = async {
        orders.send(order).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    };
    timeout(ANSWER_WAIT, given).await.map_err(|_| late())?
}
