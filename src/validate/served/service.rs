//! The provider as a gRPC service.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::schema::{Kind, Schemas};

use super::protocol::{Empty, ProviderSchema, Schema};

/// One provider.
#[derive(Clone, Debug)]
pub(super) struct Provider {
    schema: Arc<ProviderSchema>,
}

impl Provider {
    /// A provider that has some types.
    pub(super) fn new(schemas: &Schemas, types: &BTreeSet<(Kind, String)>) -> Self {
        let mut schema = ProviderSchema::default();
        let Some((_, any)) = types.first() else { return Self { schema: Arc::new(schema) } };
        let provider = crate::grammar::provider_of(any);
        let own = schemas.get(Kind::Provider, provider).map(|(block, _)| block).unwrap_or_default();
        schema.provider = Some(Schema::from(&own));
        for (kind, ty) in types {
            let Some((block, _)) = schemas.get(*kind, ty) else { continue };
            match kind {
                Kind::Resource => drop(schema.resources.insert(ty.clone(), Schema::from(&block))),
                Kind::Data => drop(schema.data_sources.insert(ty.clone(), Schema::from(&block))),
                Kind::Provider => {}
            }
        }
        Self { schema: Arc::new(schema) }
    }
}

/// Answers on a socket, for good.
pub(super) async fn serve(listener: UnixListener, provider: Provider) {
    let server = tonic::transport::Server::builder().add_service(provider);
    // A connection that breaks is terraform's affair: it reports that it has no provider.
    let _ = server.serve_with_incoming(UnixListenerStream::new(listener)).await;
}

impl NamedService for Provider {
    const NAME: &'static str = "tfplugin6.Provider";
}

impl tower_service::Service<http::Request<Body>> for Provider {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let schema = self.schema.clone();
        Box::pin(async move {
            let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
            Ok(match method.as_str() {
                "GetProviderSchema" => {
                    let mut grpc = Grpc::new(ProstCodec::<ProviderSchema, Empty>::default());
                    grpc.unary(Always(schema), request).await
                }
                // What the schema cannot say, nobody here can.
                "ValidateProviderConfig" | "ValidateResourceConfig" | "ValidateDataResourceConfig" | "StopProvider" => {
                    let mut grpc = Grpc::new(ProstCodec::<Empty, Empty>::default());
                    grpc.unary(Always(Arc::new(Empty {})), request).await
                }
                other => Status::unimplemented(format!("caulk does not serve {other}")).into_http(),
            })
        })
    }
}

/// A method with one answer.
struct Always<T>(Arc<T>);

impl<T: Clone> UnaryService<Empty> for Always<T> {
    type Response = T;
    type Future = Ready<Result<Response<T>, Status>>;

    fn call(&mut self, _: Request<Empty>) -> Self::Future {
        ready(Ok(Response::new(T::clone(&self.0))))
    }
}
