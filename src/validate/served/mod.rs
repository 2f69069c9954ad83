//! A provider made of schema packs, for a terraform that has no plugins: caulk serves it over a unix socket while
//! `terraform validate` runs.
//!
//! In: schemas, and the types that a module uses. Out: the environment that lets terraform find it
//! (`TF_REATTACH_PROVIDERS`, Terraform plugin docs, "Debugging"). What a provider's own code would check, it does not.

mod protocol;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::thread::JoinHandle;

use serde_json::json;
use tokio::net::UnixListener;
use tokio::sync::oneshot;

use crate::schema::{Kind, Schemas};

/// The variable that terraform and tofu look at.
pub(super) const VARIABLE: &str = "TF_REATTACH_PROVIDERS";

/// Providers that are served until this is dropped.
#[derive(Debug)]
pub(super) struct Served {
    environment: String,
    /// What is served, with versions: `hashicorp/aws 6.45.0`.
    providers: Vec<String>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// The folder of the sockets.
    _folder: tempfile::TempDir,
}

impl Served {
    /// Serves the providers of some types, each with the schemas of those types alone: that is all that terraform asks.
    ///
    /// # Errors
    /// When no socket can be opened.
    pub(super) fn start(schemas: &Schemas, types: &BTreeSet<(Kind, String)>) -> std::io::Result<Self> {
        // The path of a socket is short (108 bytes on Linux): the module's own folder may be too deep.
        let folder = tempfile::Builder::new().prefix("caulk-").tempdir()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let mut sockets = Vec::new();
        let mut reattach = serde_json::Map::new();
        let mut providers = Vec::new();
        for (name, types) in by_provider(schemas, types) {
            let Some(head) = schemas.pack_of(&name).and_then(|pack| pack.head()) else { continue };
            let path = folder.path().join(&name);
            let listener = {
                let _inside = runtime.enter();
                UnixListener::bind(&path)?
            };
            sockets.push((listener, service::Provider::new(schemas, &types)));
            reattach.insert(head.provider.clone(), attachment(&path));
            providers.push(format!("{} {}", head.provider, head.version));
        }
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("provider".into()).spawn(move || {
            runtime.block_on(async {
                for (listener, provider) in sockets {
                    tokio::spawn(service::serve(listener, provider));
                }
                // An error means that the sender is gone, which is a way to stop as well.
                let _ = stopped.await;
            });
        })?;
        let environment = serde_json::Value::Object(reattach).to_string();
        Ok(Self { environment, providers, stop: Some(stop), thread: Some(thread), _folder: folder })
    }

    /// The value of [`VARIABLE`].
    pub(super) fn environment(&self) -> &str {
        &self.environment
    }

    /// What is served.
    pub(super) fn providers(&self) -> &[String] {
        &self.providers
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How terraform is told of a plugin that runs already (go-plugin's `ReattachConfig` as JSON).
fn attachment(socket: &Path) -> serde_json::Value {
    json!({
        "Protocol": "grpc",
        "ProtocolVersion": protocol::VERSION,
        "Pid": std::process::id(),
        // Terraform must not end the process.
        "Test": true,
        "Addr": { "Network": "unix", "String": socket },
    })
}

/// Types by the name of their provider; providers of which there is no type are left out.
fn by_provider(schemas: &Schemas, types: &BTreeSet<(Kind, String)>) -> BTreeMap<String, BTreeSet<(Kind, String)>> {
    let mut providers: BTreeMap<String, BTreeSet<(Kind, String)>> = BTreeMap::new();
    for (kind, ty) in types {
        if let Some(head) = schemas.pack_of(ty).and_then(|pack| pack.head()) {
            providers.entry(head.name.clone()).or_default().insert((*kind, ty.clone()));
        }
    }
    providers
}
