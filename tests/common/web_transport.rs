// SPDX-License-Identifier: MIT
//! A relay that is reached by WebTransport alone: a dial by QUIC itself is refused in the handshake.

use std::{net::SocketAddr, ops::Deref};

use moq_tokio::rustls::pki_types::PrivateKeyDer;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::runtime::Runtime;
use web_transport_moq::{Request, ServerBuilder, proto::ConnectResponse};

/// How a dial by QUIC itself is refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// As the protocol asks for.
    Answer,
    /// Not at all, as the library does that has not validated the client's address.
    Silence,
}

/// Such a relay, ended when it is dropped; its certificate is self-signed.
pub(crate) struct WebTransportRelay {
    addr: SocketAddr,
    _runtime: Runtime,
}

impl WebTransportRelay {
    pub(crate) fn start(refusal: Refusal) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("the relay's runtime starts");
        let guard = runtime.enter();
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
        let server = ServerBuilder::new()
            .with_addr(([127, 0, 0, 1], 0).into())
            .with_certificate(vec![cert.der().clone()], key)
            .expect("the relay's socket is bound");
        let addr = server.local_addr().expect("an address");
        let relay = moq_net::Server::new().with_origin(moq_tokio::origin::spawn());
        runtime.spawn(async move {
            while let Some(incoming) = server.deref().accept().await {
                if refusal == Refusal::Answer && !incoming.remote_address_validated() {
                    incoming.retry().expect("its address is not validated yet");
                    continue;
                }
                let relay = relay.clone();
                tokio::spawn(async move {
                    // An error here is that of a client that is refused or has gone.
                    if let Ok(connection) = incoming.await
                        && let Ok(request) = Request::accept(connection).await
                    {
                        serve(relay, request).await;
                    }
                });
            }
        });
        drop(guard);
        Self {
            addr,
            _runtime: runtime,
        }
    }

    /// Its host and port.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// An error here is that of a client that has gone.
async fn serve(relay: moq_net::Server, request: Request) {
    let offered = request.protocols.first().cloned();
    let response = match offered {
        Some(protocol) => ConnectResponse::OK.with_protocol(protocol),
        None => ConnectResponse::OK,
    };
    let Ok(session) = request.respond(response).await else {
        return;
    };
    let session = moq_tokio::transport::Session::new(session);
    let now = tokio::time::Instant::now().into_std();
    if let Ok((session, driver)) = relay.accept(now, session).await {
        tokio::spawn(moq_net::time::run(driver));
        session.closed().await;
    }
}
