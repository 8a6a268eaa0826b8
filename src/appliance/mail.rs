//! The services that exist once the box knows its domain: the seven mail ports and the queue.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{MOST_CONNECTIONS, OutboundMode};
use crate::mail::Domain;
use crate::net::{Gate, Limits, ListenError, Listener, Peer, Rate, Stream, Tls, Width};
use crate::office::{Office, Service};
use crate::policy::allowance::{self, Allowance};
use crate::policy::dnsbl::{Dnsbl, List};
use crate::policy::guard::{self, Guard};
use crate::policy::junk::Marks;
use crate::queue::{Queue, TlsTally};
use crate::reports::{Post, TlsResults, TlsSeen};
use crate::smtp::Role;
use crate::store::AccountId;
use crate::{imap, pop3, smtp};

/// The running services.
pub(super) struct Services {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Services {
    /// Binds every port first, so that none is served when one is taken; then serves.
    pub(super) fn start(
        office: &Arc<Office>,
        service: &Arc<Service>,
        tls: &Tls,
    ) -> Result<Self, ListenError> {
        let listen = &service.config.listen;
        let ports = |addresses: &[SocketAddr], limits| {
            // One gate for all addresses of a port.
            let gate = Gate::new(limits);
            addresses.iter().map(|a| Listener::bind(*a, &gate)).collect::<Result<Vec<_>, _>>()
        };
        // A household shares an address, and a cloud that fetches mail for many does so, too.
        let people = Limits {
            total: MOST_CONNECTIONS,
            per_network: service.config.per_address,
            width: Width::Household,
            rate: None,
            // Under TLS from the first byte nothing can be said without a handshake.
            refusal: b"",
        };
        let told = |refusal| Limits { refusal, ..people };
        let smtp_ports = [
            (Role::Mx, ports(&listen.smtp, STRANGERS)?),
            (Role::Submission, ports(&listen.submission, told(NO_PLACE_SMTP))?),
            (Role::Submissions, ports(&listen.submissions, people)?),
        ];
        let imap_ports = [
            (None, ports(&listen.imap, told(NO_PLACE_IMAP))?),
            (Some(tls.clone()), ports(&listen.imaps, people)?),
        ];
        let pop3_ports = [
            (None, ports(&listen.pop3, told(NO_PLACE_POP3))?),
            (Some(tls.clone()), ports(&listen.pop3s, people)?),
        ];

        let running = Self { stop: CancellationToken::new(), tasks: TaskTracker::new() };
        let lists = Dnsbl::new(
            service.resolver.clone(),
            List::chosen(service.config.junk.lists.as_deref()),
        );
        let guard = Guard::new(guard::Parts {
            resolver: service.resolver.clone(),
            clock: Arc::clone(office.clock()),
            hostname: service.site.hostname.clone(),
            junk: Arc::clone(office.junk()),
            marks: marks_of(office, service),
            lists: lists.clone(),
            greylist: Arc::clone(office.greylist()),
            witness: Arc::new(office.mail_reports().clone()),
        });
        let stop = running.stop.clone();
        running.tasks.spawn(async move { lists.keep(stop).await });
        let (store, accounts) = (office.store().clone(), office.accounts().clone());
        running.tasks.spawn(async move {
            let here: Vec<AccountId> = accounts.list().iter().map(|account| account.id).collect();
            if let Err(error) = allowance::sweep(&store, &here).await {
                tracing::warn!(%error, "what was counted of accounts that are gone stays");
            }
        });
        let smtp = Arc::new(smtp_server(office, service, tls, guard));
        for (role, listeners) in smtp_ports {
            let smtp = Arc::clone(&smtp);
            running.each(listeners, move |stream, peer, stop| {
                let smtp = Arc::clone(&smtp);
                async move { smtp.serve(stream, peer, role, stop).await }
            });
        }
        let imap = imap::Server::new(
            service.site.hostname.clone(),
            tls.clone(),
            office.accounts().clone(),
            office.store().clone(),
            Arc::clone(office.search()),
            Arc::clone(office.clock()),
            service.config.message_size,
        );
        let imap = Arc::new(imap.with_summaries(Arc::clone(office.summaries())));
        for (tls, listeners) in imap_ports {
            let imap = Arc::clone(&imap);
            running.each(listeners, move |stream, peer, stop| {
                let (imap, tls) = (Arc::clone(&imap), tls.clone());
                async move {
                    if let Some(stream) = ready(stream, tls.as_ref(), &stop).await {
                        imap.serve(stream, peer, stop).await;
                    }
                }
            });
        }
        let pop3 = Arc::new(pop3::Server::new(
            service.site.hostname.clone(),
            tls.clone(),
            office.accounts().clone(),
            office.store().clone(),
        ));
        for (tls, listeners) in pop3_ports {
            let pop3 = Arc::clone(&pop3);
            running.each(listeners, move |stream, peer, stop| {
                let (pop3, tls) = (Arc::clone(&pop3), tls.clone());
                async move {
                    if let Some(stream) = ready(stream, tls.as_ref(), &stop).await {
                        pop3.serve(stream, peer, stop).await;
                    }
                }
            });
        }
        let post = Post {
            queue: service.queue.clone(),
            resolver: service.resolver.clone(),
            hostname: service.site.hostname.clone(),
            domain: service.site.domains.first().unwrap_or(&service.site.hostname).clone(),
            hold: matches!(service.config.outbound.mode, OutboundMode::Hold),
            tls_results: tls_results(service.queue.clone()),
        };
        running.tasks.spawn(office.mail_reports().clone().post(post, running.stop.clone()));
        let (queue, stop) = (service.queue.clone(), running.stop.clone());
        running.tasks.spawn(async move { queue.run(stop).await });
        Ok(running)
    }

    /// Accepts no more, and waits this long for what is under way.
    pub(super) async fn stop(self, patience: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            tracing::warn!("some mail connections have not ended in time");
        }
    }

    fn each<F, Fut>(&self, listeners: Vec<Listener>, serve: F)
    where
        F: Fn(TcpStream, Peer, CancellationToken) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        for listener in listeners {
            let (serve, stop) = (serve.clone(), self.stop.clone());
            let connection = move |stream, peer| serve(stream, peer, stop.clone());
            self.tasks.spawn(listener.run(self.stop.clone(), self.tasks.clone(), connection));
        }
    }
}

/// An account's own marks for junk, or those of the box.
fn marks_of(
    office: &Office,
    service: &Service,
) -> Box<dyn Fn(Option<AccountId>) -> Marks + Send + Sync> {
    let (accounts, usual) = (office.accounts().clone(), Marks::from(&service.config.junk));
    Box::new(move |account| {
        account.and_then(|account| accounts.junk_marks(account)).map_or(usual, Marks::from)
    })
}

/// The queue's counts of TLS, as reports tell them.
fn tls_results(queue: Queue) -> TlsResults {
    let seen = |(domain, tally): (Domain, TlsTally)| TlsSeen {
        domain,
        policy_type: tally.policy_type,
        policy: tally.policy,
        hosts: tally.hosts,
        good: tally.good,
        failures: tally.failures.into_iter().map(|f| (f.kind, f.host, f.count)).collect(),
    };
    Arc::new(move |day| Ok(queue.tls_results(day)?.into_iter().map(seen).collect()))
}

/// A connection as its protocol wants it: under TLS from the first byte, or plain.
pub(super) async fn ready(
    stream: TcpStream,
    tls: Option<&Tls>,
    stop: &CancellationToken,
) -> Option<Stream> {
    let Some(tls) = tls else { return Some(Stream::Plain(stream)) };
    let accepted = tokio::select! {
        // Nothing has been said yet, so nothing is lost.
        () = stop.cancelled() => return None,
        accepted = tokio::time::timeout(HANDSHAKE, tls.accept(stream)) => accepted,
    };
    match accepted {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "no TLS came about");
            None
        }
        Err(_) => None,
    }
}

fn smtp_server(office: &Office, service: &Service, tls: &Tls, guard: Guard) -> smtp::Server {
    smtp::Server::new(
        smtp::ServerSettings {
            hostname: service.site.hostname.clone(),
            postmaster: service.site.owner.clone(),
            message_size: service.config.message_size,
            timeouts: smtp::Timeouts::default(),
        },
        smtp::House {
            tls: tls.clone(),
            accounts: office.accounts().clone(),
            queue: service.queue.clone(),
            store: office.store().clone(),
            guard,
            allowance: Allowance::new(
                office.store().clone(),
                Arc::clone(office.junk()),
                service.config.daily,
            ),
            clock: Arc::clone(office.clock()),
        },
    )
}

/// One sender must not take every place, nor the time of all others.
const STRANGERS: Limits = Limits {
    total: MOST_CONNECTIONS,
    per_network: 30,
    width: Width::Neighbourhood,
    rate: Some(Rate { burst: 120, each: Duration::from_secs(1) }),
    refusal: b"421 4.7.0 Too many connections; please come back in a minute\r\n",
};

/// To a mail program that finds no place, in the words of each protocol (RFC 9051 §7.1.5,
/// RFC 3206 §4).
const NO_PLACE_SMTP: &[u8] =
    b"421 4.7.0 Too many connections; close other mail programs, or try again in a minute\r\n";
const NO_PLACE_IMAP: &[u8] =
    b"* BYE [UNAVAILABLE] Too many connections; close other mail programs, or try again in a minute\r\n";
const NO_PLACE_POP3: &[u8] =
    b"-ERR [SYS/TEMP] Too many connections; close other mail programs, or try again in a minute\r\n";

/// A peer that does not get through a handshake in this time wants something else.
const HANDSHAKE: Duration = Duration::from_secs(30);
