//! The listening socket, one task per connection, and the table of routes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use axum::{Extension, Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};

use super::app::App;
use super::auth::Access;
use super::faults::ActiveFault;
use super::request_log::Route;
use super::{development, door, read};

/// The connection a request came in on; a handler may destroy it.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    reset: Arc<Notify>,
}

impl Connection {
    /// Ends the connection without an answer. Never returns, because there is nobody left to answer.
    pub(super) async fn reset(&self) -> ! {
        self.reset.notify_one();
        std::future::pending().await
    }
}

pub(super) async fn serve(listener: TcpListener, app: Arc<App>) {
    let routes = routes(app);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                tokio::spawn(serve_connection(stream, peer, routes.clone()));
            }
            // Out of file descriptors, most likely: the open connections must end first.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn serve_connection(stream: TcpStream, peer: SocketAddr, routes: Router) {
    let _ = stream.set_nodelay(true);
    let reset = Arc::new(Notify::new());
    let service = routes.layer(Extension(Connection { peer, reset: Arc::clone(&reset) }));
    let mut connection =
        http1::Builder::new().serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::select! {
        // A broken connection concerns its client only.
        _ = &mut connection => {}
        () = reset.notified() => {
            // Linger 0 makes the close an RST, as a crashed proxy or server does.
            let _ = connection.into_parts().io.into_inner().set_zero_linger();
        }
    }
}

fn routes(app: Arc<App>) -> Router {
    let misbehaving = from_fn_with_state(Arc::clone(&app), read::misbehave);
    public_routes().layer(misbehaving).layer(cors()).merge(development::routes()).with_state(app)
}

fn public_routes() -> Router<Arc<App>> {
    let post = |route: Route| {
        any(
            move |State(app): State<Arc<App>>,
                  Extension(connection): Extension<Connection>,
                  request: Request| { door::receive(app, connection, route, request) },
        )
    };
    Router::new()
        .route("/api/public/otel/v1/traces", post(Route::Traces))
        .route("/api/public/ingestion", post(Route::Ingestion))
        .route("/api/public/projects", get(read::projects))
        .route("/api/public/health", get(read::health))
        .route("/api/public/ready", get(read::ready))
        .route("/api/public/v2/observations", get(read::observations))
        .route("/api/public/v3/scores", get(read::scores))
        .route("/api/public/{*rest}", any(elsewhere))
}

/// Routes of the v3 API say why they are gone, before anybody looks at the keys.
async fn elsewhere(
    State(app): State<Arc<App>>,
    method: Method,
    Path(rest): Path<String>,
    headers: HeaderMap,
) -> Response {
    let first = rest.split('/').next().unwrap_or_default();
    let gone = match method.as_str() {
        "POST" => matches!(rest.as_str(), "traces" | "spans" | "generations" | "events"),
        _ => {
            matches!(
                first,
                "traces" | "observations" | "sessions" | "scores" | "metrics" | "dataset-run-items"
            ) || rest == "v2/scores"
        }
    };
    let is_legacy = app.lock().fault.as_ref().is_some_and(ActiveFault::is_legacy);
    if let (true, true, Access::Denied(message)) = (gone, is_legacy, app.keys.check(&headers)) {
        return (StatusCode::UNAUTHORIZED, Json(json!({ "message": message }))).into_response();
    }
    let message = if gone && !is_legacy {
        format!(
            "/api/public/{rest} is not available: this server runs in the events_only write mode of Langfuse v4."
        )
    } else {
        format!("langfuse-edge dev has no route {method} /api/public/{rest}")
    };
    (StatusCode::NOT_FOUND, Json(json!({ "message": message, "error": "LangfuseNotFoundError" })))
        .into_response()
}

fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::mirror_request())
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
}
