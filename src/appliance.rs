//! The wiring: opens the post office, starts its services, keeps them running, and drains them on
//! stop. The pages, the panel, the self-check and the control socket live as long as the program;
//! the mail services start when the box is set up, and anew when its configuration changes.

mod banner;
mod light;
mod mail;
mod pages;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::light::Light;
use crate::clock::{SharedClock, SystemClock};
use crate::config::{self, Config, FILE_NAME, Part, Seed, TlsMode};
use crate::control::{self, ControlError};
use crate::files::create_private_folder;
use crate::mail::Domain;
use crate::net::{Gate, Limits, ListenError, Listener, Tls, TlsError, Width};
use crate::office::{NEW_NAME, Office, OfficeError};
use crate::policy::junk;
use crate::search;
use crate::store::{Store, StoreError};
use crate::web::{self, ClaimCode, Stage};

/// How to run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The data folder.
    pub data: PathBuf,
    /// Another configuration than the one in the data folder.
    pub config: Option<PathBuf>,
    /// Answers to take up once. Its folder is where we meet the system's helpers: they put the
    /// seed there, we put there what belongs on the console.
    pub seed: Option<PathBuf>,
    /// Where LED and display are.
    pub board: board::Kind,
}

/// Runs all services until the program is told to stop.
pub fn run(options: RunOptions) -> Result<(), RunError> {
    log_to_stderr("info");
    runtime()?.block_on(async {
        let appliance = Appliance::open(options, Arc::new(SystemClock)).await?;
        let stop = stop_on_signal()?;
        appliance.serve(stop).await
    })
}

/// An event loop for a small machine: a worker a core, at most four.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, RunError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.min(4))
        .enable_all()
        .build()
        .map_err(RunError::Runtime)
}

/// Ends on Ctrl-C and on what a service manager sends.
pub(crate) fn stop_on_signal() -> Result<CancellationToken, RunError> {
    let stop = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Runtime)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Runtime)?;
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        token.cancel();
    });
    Ok(stop)
}

/// An opened post office with its pages bound, ready to serve.
pub struct Appliance {
    office: Arc<Office>,
    options: RunOptions,
    parts: board::Settings,
    control: control::Server,
    pages: Vec<(Listener, bool)>,
    tls: Tls,
    code: ClaimCode,
}

impl Appliance {
    /// Opens the data folder, takes up a seed, and binds what does not depend on the set-up.
    pub async fn open(options: RunOptions, clock: SharedClock) -> Result<Self, RunError> {
        create_private_folder(&options.data)
            .map_err(|source| RunError::Folder { path: options.data.clone(), source })?;
        if let Some(file) = &options.config
            && !file.exists()
        {
            return Err(RunError::NoConfig(file.clone()));
        }
        let file = options.config.clone().unwrap_or_else(|| options.data.join(FILE_NAME));
        let config = config::load(&file).map_err(OfficeError::from)?;
        let office = Office::open_with(&options.data, file, clock)?;
        if let Some(seed) = &options.seed {
            take_up_seed(&office, seed).await;
        }
        let config = office.service().map_or(config, |service| service.config.clone());
        let parts = board_settings(&config.board);
        let tls = certificate(&office, &config)?;
        let mut pages = Vec::new();
        for address in &config.listen.http {
            pages.push((bind(*address)?, false));
        }
        for address in &config.listen.https {
            pages.push((bind(*address)?, true));
        }
        let control = control::Server::bind(&options.data)?;
        let code = ClaimCode::random().map_err(|_| RunError::Random)?;
        Ok(Self { office: Arc::new(office), options, parts, control, pages, tls, code })
    }

    /// The opened parts, for whoever runs this appliance inside another program.
    pub fn office(&self) -> &Arc<Office> {
        &self.office
    }

    /// Proves to the wizard that somebody stands before the box.
    pub fn claim_code(&self) -> &ClaimCode {
        &self.code
    }

    /// Runs until `stop`, then lets what is under way come to its end.
    pub async fn serve(self, stop: CancellationToken) -> Result<(), RunError> {
        let Self { office, options, parts, control, pages, tls, code } = self;
        let tasks = TaskTracker::new();
        let recheck = Arc::new(Notify::new());
        // The pages correct it: they know whether a set-up was left half way.
        let stage = watch::Sender::new(match office.service() {
            Some(_) => Stage::Done,
            None => Stage::Unclaimed,
        });

        tasks.spawn(control.run(Arc::clone(&office), stop.clone(), tasks.clone()));
        let http: Vec<SocketAddr> = pages
            .iter()
            .filter(|(_, secure)| !secure)
            .map(|(listener, _)| listener.local())
            .collect();
        let light = Light::start(
            board::Board::detect(options.board, &parts),
            light::Sources {
                office: Arc::clone(&office),
                stage: stage.subscribe(),
                code: code.clone(),
                http: http.clone(),
            },
            stop.clone(),
        );
        let known = Arc::new(pages::OfficePages(Arc::clone(&office)));
        let router = web::router(web::Web {
            setup: Arc::clone(&known) as Arc<dyn web::Setup>,
            books: known,
            report: office.reports(),
            recheck: Arc::clone(&recheck),
            board: Some(light.views()),
            code: code.clone(),
            stage: stage.clone(),
            data: options.data.clone(),
        });
        for (listener, secure) in pages {
            let tls = secure.then(|| tls.clone());
            let (stop, tasks_in) = (stop.clone(), tasks.clone());
            tasks.spawn(pages::serve(listener, tls, router.clone(), stop, tasks_in));
        }
        tasks.spawn(keep_house(office.store().clone(), Arc::clone(&recheck), stop.clone()));
        let (index, mail) = (Arc::clone(office.search()), office.store().clone());
        let summaries = Arc::clone(office.summaries());
        tasks.spawn(search::follow(index, summaries, mail, stop.clone()));
        tasks.spawn(junk::follow(office.learning(), stop.clone()));
        tasks.spawn(office.mail_reports().clone().follow(stop.clone()));
        tasks.spawn(check_regularly(Arc::clone(&office), Arc::clone(&recheck), stop.clone()));
        if let Some(folder) = options.seed.as_deref().and_then(Path::parent) {
            tasks.spawn(banner::keep(
                folder.to_owned(),
                http,
                code,
                stage.subscribe(),
                stop.clone(),
            ));
        }
        let ready = CancellationToken::new();
        let store = office.store().clone();
        tasks.spawn(tell_the_service_manager(store, ready.clone(), stop.clone()));

        let served = mail_services(&office, &tls, &recheck, &ready, &stop).await;
        // A failure of the mail services stops all of it: a service manager starts it anew.
        stop.cancel();
        tasks.close();
        if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
            tracing::warn!("some connections were cut: they did not end in time");
        }
        light.stopped().await;
        office.store().clone().close().await.map_err(OfficeError::from)?;
        served
    }
}

/// Starts the mail services whenever the box is set up or changed, until `stop`. `ready` is told
/// when every port that is to be there is bound.
async fn mail_services(
    office: &Arc<Office>,
    tls: &Tls,
    recheck: &Notify,
    ready: &CancellationToken,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    let mut generations = office.generations();
    loop {
        generations.borrow_and_update();
        let Some(service) = office.service() else {
            ready.cancel();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = generations.changed() => continue,
            }
        };
        // A new name needs a new certificate, on the pages' ports too.
        tls.renew(&certificate(office, &service.config)?);
        let running = mail::Services::start(office, &service, tls)?;
        ready.cancel();
        recheck.notify_one();
        tracing::info!(hostname = %service.site.hostname, "open for mail");
        tokio::select! {
            () = stop.cancelled() => {
                running.stop(DRAIN).await;
                return Ok(());
            }
            _ = generations.changed() => running.stop(DRAIN).await,
        }
    }
}

/// Lets the store tidy up now and then. A failure of the disk, by whomever it was met, is told by
/// the self-check at once.
async fn keep_house(store: Store, recheck: Arc<Notify>, stop: CancellationToken) {
    let mut keeper = store.keeper();
    let mut told = store.troubles();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(HOUSEKEEPING_INTERVAL) => {}
        }
        let mut work = tokio::task::spawn_blocking(move || (keeper.work(), keeper));
        let done = tokio::select! {
            done = &mut work => done,
            () = stop.cancelled() => {
                store.end_housekeeping();
                work.await
            }
        };
        let Ok((worked, back)) = done else { return };
        keeper = back;
        match worked {
            Ok(_) | Err(StoreError::Closed) => {}
            Err(error) => tracing::warn!(%error, "the store could not be tidied"),
        }
        match store.keep_damage().await {
            Ok(()) | Err(StoreError::Closed) => {}
            Err(error) => tracing::warn!(%error, "damage that was found could not be noted"),
        }
        let troubles = store.troubles();
        if troubles > told {
            recheck.notify_one();
        }
        told = troubles;
    }
}

/// Once at the start, every hour, and whenever somebody asks.
async fn check_regularly(office: Arc<Office>, recheck: Arc<Notify>, stop: CancellationToken) {
    loop {
        if office.service().is_some() {
            // A check that waits for an answer must not hold up the end.
            let checked = tokio::select! {
                () = stop.cancelled() => return,
                checked = office.check(&[]) => checked,
            };
            if let Err(error) = checked {
                tracing::warn!(%error, "the self-check could not run");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = recheck.notified() => {}
            () = tokio::time::sleep(CHECK_INTERVAL) => {}
        }
    }
}

/// READY once the ports are bound, then signs of life until the end is near.
async fn tell_the_service_manager(store: Store, ready: CancellationToken, stop: CancellationToken) {
    let told = async {
        ready.cancelled().await;
        tell(&NotifyState::Ready);
        match sd_notify::watchdog_enabled() {
            None => std::future::pending().await,
            Some(time) => give_signs_of_life(&store, time / 3).await,
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = told => {}
    }
    tell(&NotifyState::Stopping);
}

/// A sign comes from the event loop that serves mail, after the store's writer answered: when
/// either hangs, or the disk failed the store, the watchdog hears nothing and starts us anew.
async fn give_signs_of_life(store: &Store, period: Duration) {
    loop {
        match store.alive().await {
            Ok(()) => tell(&NotifyState::Watchdog),
            Err(error) => tracing::error!(%error, "no mail can be kept: waiting to be restarted"),
        }
        tokio::time::sleep(period).await;
    }
}

fn tell(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::debug!(%error, "no service manager listens");
    }
}

/// A seed with a mistake must not keep the box from starting: the wizard is still there.
async fn take_up_seed(office: &Office, path: &Path) {
    let seed = match Seed::read(path, office.data()) {
        Ok(None) => return,
        Ok(Some(seed)) => seed,
        Err(error) => {
            tracing::error!(%error, "the answers on the card cannot be used");
            return;
        }
    };
    let taken = async {
        office.take_up(seed.answers.clone(), None).await?;
        seed.applied(office.data())?;
        Ok::<_, OfficeError>(())
    };
    match taken.await {
        Ok(()) => banner::seed_done(path, &seed.without_secrets),
        Err(error) => tracing::error!(%error, "the answers on the card cannot be used"),
    }
}

fn certificate(office: &Office, config: &Config) -> Result<Tls, RunError> {
    Ok(match &config.tls {
        TlsMode::Files { certificate, key } => Tls::load(certificate, key)?,
        TlsMode::SelfSigned => Tls::self_signed(&office.tls_folder(config), &host_name(config)?)?,
    })
}

/// What the owner said about LED and display, in the board's words.
fn board_settings(said: &config::Board) -> board::Settings {
    let choice = |part: &Part| match part {
        Part::Auto => board::Choice::Auto,
        Part::None => board::Choice::Off,
        Part::Named(path) => board::Choice::At(path.into()),
    };
    board::Settings {
        led: choice(&said.led),
        display: choice(&said.display),
        ..board::Settings::default()
    }
}

/// The name people type: before the set-up, the one the box has in the house.
fn host_name(config: &Config) -> Result<Domain, RunError> {
    match &config.site {
        Some(site) => Ok(site.hostname.clone()),
        None => NEW_NAME.parse().map_err(|_| RunError::Name),
    }
}

fn bind(address: SocketAddr) -> Result<Listener, RunError> {
    let limits =
        Limits { total: 256, per_network: 64, width: Width::Household, rate: None, refusal: b"" };
    Ok(Listener::bind(address, &Gate::new(limits))?)
}

/// Logs to standard error, where a service manager reads; `PILLARBOX_LOG` sets another level.
pub(crate) fn log_to_stderr(level: &str) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("PILLARBOX_LOG").unwrap_or_else(|_| level.into());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false);
    // A second start inside one process (the demo) keeps the first one's log.
    if subscriber.try_init().is_err() {
        tracing::debug!("a log is set up already");
    }
}

/// How long a stop may take; systemd waits 90 seconds.
const DRAIN: Duration = Duration::from_secs(10);

/// How often the store is asked whether there is something to tidy.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(30);
/// The DNS changes slowly, and a check asks servers of other people.
const CHECK_INTERVAL: Duration = Duration::from_hours(1);

/// Why the services do not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The data folder cannot be made.
    #[error("cannot make the data folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The data folder cannot be opened.
    #[error(transparent)]
    Office(#[from] OfficeError),
    /// The configuration named does not exist.
    #[error("there is no configuration {}: name another with --config, or leave it out", .0.display())]
    NoConfig(PathBuf),
    /// A port cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The control socket cannot be opened.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system refused an event loop or a signal handler.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
    /// Our own name is no name.
    #[error("{NEW_NAME} is not a name")]
    Name,
    /// The system has no random numbers to give.
    #[error("the system gives no random numbers")]
    Random,
}
