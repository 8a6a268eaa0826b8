//! The opened post office: the store and everything that stands on it, held together under one
//! data folder. The services of [`crate::appliance`] run on it, and the commands of
//! [`crate::control`] are carried out on it, whether services run or not.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::accounts::{AccountError, Accounts};
use crate::clock::{ClockTrust, SharedClock, SystemClock};
use crate::config::{self, Config, ConfigError, ConfigFile, FILE_NAME, Site};
use crate::dns::{Resolver, ResolverError};
use crate::mail::{Address, Domain};
use crate::net::Tls;
use crate::policy::dkim::rotation::Standing;
use crate::policy::dkim::{KeyError, SigningKeys};
use crate::policy::greylist::{Greylist, Waiting};
use crate::policy::junk::{self, Junk, Marks};
use crate::policy::notes::Notes;
use crate::queue::{Queue, QueueError, QueueParts, Schedule};
use crate::reports::{Reports, ReportsError};
use crate::search::Index;
use crate::selfcheck::records::{Record, records};
use crate::selfcheck::{Checks, Holding, Inputs, Report};
use crate::setup::{self, SetupError};
use crate::store::{OpenError, Options, Quota, Store, StoreError};
use crate::summary::Summaries;

/// A data folder, opened. There is one per folder: the store's lock sees to that.
pub struct Office {
    data: PathBuf,
    config_file: PathBuf,
    store: Store,
    search: Arc<Index>,
    summaries: Arc<Summaries>,
    junk: Arc<Junk>,
    greylist: Arc<Greylist>,
    accounts: Accounts,
    mail_reports: Reports,
    clock: SharedClock,
    /// What exists once the box is set up.
    site: RwLock<Option<Arc<Service>>>,
    /// Answers are carried out one after the other.
    taking_up: tokio::sync::Mutex<()>,
    /// Counts set-ups, so that the services start, or start anew.
    generation: watch::Sender<u64>,
    /// The last self-check.
    report: watch::Sender<Option<Report>>,
}

/// What a box has once it knows its domain.
pub struct Service {
    /// The whole configuration.
    pub config: Config,
    /// Its names and owner.
    pub site: Site,
    /// Asks the DNS.
    pub resolver: Resolver,
    /// Signs what leaves.
    pub keys: SigningKeys,
    /// The way out.
    pub queue: Queue,
}

impl Office {
    /// Opens a data folder with its own configuration and the system's clock.
    pub fn open(data: &Path) -> Result<Self, OfficeError> {
        Self::open_with(data, data.join(FILE_NAME), Arc::new(SystemClock))
    }

    /// Opens a data folder with a configuration from elsewhere.
    pub fn open_with(
        data: &Path,
        config_file: PathBuf,
        clock: SharedClock,
    ) -> Result<Self, OfficeError> {
        let config = config::load(&config_file)?;
        let store = Store::open(data, store_options(&config))?;
        let search = Arc::new(Index::open(data, &store));
        let summaries = Arc::new(Summaries::open(data, &store));
        let notes = Arc::new(Notes::open(data));
        let junk = Arc::new(Junk::open(Arc::clone(&notes)));
        let greylist = Arc::new(Greylist::open(notes));
        let domains = config.site.as_ref().map(|site| site.domains.clone()).unwrap_or_default();
        let accounts = Accounts::open_by(store.clone(), domains, Arc::clone(&clock))?;
        let mail_reports = Reports::open(store.clone(), accounts.clone(), Arc::clone(&clock))?;
        let office = Self {
            data: data.to_owned(),
            config_file,
            store,
            search,
            summaries,
            junk,
            greylist,
            accounts,
            mail_reports,
            clock,
            site: RwLock::default(),
            taking_up: tokio::sync::Mutex::default(),
            generation: watch::Sender::new(0),
            report: watch::Sender::new(None),
        };
        office.assume(config)?;
        Ok(office)
    }

    /// The folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The mail.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The full-text index over the mail.
    pub fn search(&self) -> &Arc<Index> {
        &self.search
    }

    /// What lists of messages show of each.
    pub fn summaries(&self) -> &Arc<Summaries> {
        &self.summaries
    }

    /// Tells junk from mail, and learns to.
    pub fn junk(&self) -> &Arc<Junk> {
        &self.junk
    }

    /// What learns from what people do with their mail.
    pub fn learning(&self) -> junk::Parts {
        junk::Parts {
            junk: Arc::clone(&self.junk),
            greylist: Arc::clone(&self.greylist),
            store: self.store.clone(),
            accounts: self.accounts.clone(),
            clock: Arc::clone(&self.clock),
        }
    }

    /// Above which score what is done with mail for accounts without marks of their own.
    pub fn usual_marks(&self) -> Marks {
        self.service().map_or_else(Marks::default, |service| Marks::from(&service.config.junk))
    }

    /// Strangers that were asked to come back and have not, the latest first.
    pub fn asked_back(&self) -> Vec<Waiting> {
        self.greylist.waiting(self.clock.now())
    }

    /// Who was asked to come back.
    pub fn greylist(&self) -> &Arc<Greylist> {
        &self.greylist
    }

    /// The people.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// What mail hosts tell each other.
    pub fn mail_reports(&self) -> &Reports {
        &self.mail_reports
    }

    /// The time.
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// What exists once the box is set up.
    pub fn service(&self) -> Option<Arc<Service>> {
        self.site.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The queue, for commands.
    pub fn queue(&self) -> Result<Queue, String> {
        self.set_up_service().map(|service| service.queue.clone())
    }

    /// Tells when the box was set up, or set up anew.
    pub fn generations(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Tells what the self-check found last.
    pub fn reports(&self) -> watch::Receiver<Option<Report>> {
        self.report.subscribe()
    }

    /// Sets the box up, or changes it, from the text of an answers file.
    pub async fn set_up(&self, file: &str, text: &str) -> Result<Value, OfficeError> {
        let answers = ConfigFile::parse(text, file)?;
        let config = self.take_up(answers, None).await?;
        let site = config.site.ok_or(SetupError::NothingSaid)?;
        Ok(json!({ "domain": site.domains[0], "hostname": site.hostname, "owner": site.owner }))
    }

    /// Carries out answers of whatever origin. `replaces` as in [`setup::apply`].
    pub async fn take_up(
        &self,
        answers: ConfigFile,
        replaces: Option<&Address>,
    ) -> Result<Config, OfficeError> {
        // Browser and command line at once would mix two answers.
        let _turn = self.taking_up.lock().await;
        let keys = self.keys_folder();
        // Finding two large primes takes seconds on a Pi.
        let prepare = async move |config: Config| {
            let made = tokio::task::spawn_blocking(move || prepare(&keys, &config));
            made.await.map_err(|error| SetupError::Keys(error.to_string()))?
        };
        let config =
            setup::apply(answers, replaces, &self.config_file, &self.accounts, prepare).await?;
        self.assume(config.clone())?;
        self.generation.send_modify(|count| *count += 1);
        Ok(config)
    }

    /// Runs the self-check; all of it when `only` is empty.
    pub async fn check(&self, only: &[String]) -> Result<Report, String> {
        let service = self.set_up_service()?;
        // A person who just changed a record wants to see the change.
        service.resolver.forget();
        self.advance_rotation(&service).await;
        let inputs = Inputs {
            resolver: service.resolver.clone(),
            site: service.site.clone(),
            outbound: service.config.outbound.mode.clone(),
            dkim: service.keys.all_records(),
            clock: Arc::clone(&self.clock),
            stats: self.store.stats().map_err(|error| error.to_string()),
            holdings: self.holdings().map_err(|error| error.to_string()),
            certificate: self.certificate(&service.config),
            addresses: crate::selfcheck::own_addresses(),
        };
        let report = Checks::run(&inputs, only).await.map_err(|error| error.to_string())?;
        if only.is_empty() {
            self.report.send_replace(Some(report.clone()));
        }
        Ok(report)
    }

    /// Signs with the next keys once they are published.
    async fn advance_rotation(&self, service: &Service) {
        if self.clock.trust() == ClockTrust::Unknown {
            return;
        }
        match service.keys.advance_rotation(&service.resolver, self.clock.now()).await {
            Ok(turned) => turned.iter().for_each(|domain| {
                tracing::info!(%domain, "the next DKIM keys are published and sign from now on");
            }),
            Err(error) => tracing::error!(%error, "the DKIM keys cannot be changed"),
        }
    }

    /// Makes the next signing keys of one domain, or of all, which wait for their records.
    pub async fn rotate_keys(&self, only: Option<&Domain>) -> Result<Vec<Standing>, String> {
        let service = self.set_up_service()?;
        let ours = &service.site.domains;
        if let Some(domain) = only.filter(|domain| !ours.contains(domain)) {
            return Err(format!("{domain} is not a domain of this box"));
        }
        for domain in ours.iter().filter(|domain| only.is_none_or(|only| only == *domain)) {
            service.keys.begin_rotation(domain).await.map_err(|error| error.to_string())?;
        }
        self.key_standing()
    }

    /// How the signing keys stand.
    pub fn key_standing(&self) -> Result<Vec<Standing>, String> {
        Ok(self.set_up_service()?.keys.standing(self.clock.now()))
    }

    /// The accounts that have a quota.
    fn holdings(&self) -> Result<Vec<Holding>, StoreError> {
        let mut holdings = Vec::new();
        for account in self.accounts.list() {
            let quota = self.store.quota(account.id)?;
            if quota != Quota::NONE {
                let usage = self.store.usage(account.id)?;
                holdings.push(Holding { address: account.address, usage, quota });
            }
        }
        Ok(holdings)
    }

    /// The DNS records to publish.
    pub fn records(&self) -> Result<Vec<Record>, String> {
        let service = self.set_up_service()?;
        let addresses: Vec<IpAddr> = crate::selfcheck::own_addresses();
        let now = self.clock.now();
        let mut keys = service.keys.all_records();
        keys.retain(|key| !key.is_removable(now));
        let Service { site, config, .. } = &*service;
        Ok(records(site, &config.outbound.mode, config.mta_sts, &keys, &addresses))
    }

    /// Where the box's own certificate is kept: each name has its own.
    pub fn tls_folder(&self, config: &Config) -> PathBuf {
        let name = config.site.as_ref().map_or(NEW_NAME, |site| site.hostname.as_str());
        self.data.join("tls").join(name)
    }

    /// Closes the store; what is committed stays in any case.
    pub async fn close(self) -> Result<(), OfficeError> {
        self.store.close().await.map_err(OpenError::from)?;
        Ok(())
    }

    fn certificate(&self, config: &Config) -> PathBuf {
        match &config.tls {
            config::TlsMode::SelfSigned => self.tls_folder(config).join("certificate.pem"),
            config::TlsMode::Files { certificate, .. } => certificate.clone(),
        }
    }

    fn keys_folder(&self) -> PathBuf {
        self.data.join("keys")
    }

    fn set_up_service(&self) -> Result<Arc<Service>, String> {
        self.service().ok_or_else(|| {
            "this box is not set up yet: open its web page, or use `pillarbox setup`".to_owned()
        })
    }

    /// Builds what a configuration needs and puts it into force.
    fn assume(&self, config: Config) -> Result<(), OfficeError> {
        let Some(site) = config.site.clone() else { return Ok(()) };
        self.accounts.set_domains(site.domains.clone());
        let resolver = match &config.trust_anchor {
            Some(file) => Resolver::with_trust_anchor(&config.dns, file)?,
            None => Resolver::new(&config.dns)?,
        };
        let keys = SigningKeys::open_or_create(&self.keys_folder(), &site.domains)?;
        let parts = QueueParts {
            store: self.store.clone(),
            accounts: self.accounts.clone(),
            resolver: resolver.clone(),
            keys: keys.clone(),
            hostname: site.hostname.clone(),
            outbound: config.outbound.clone(),
            listens: config.listen.smtp.clone(),
            clock: Arc::clone(&self.clock),
            schedule: Schedule::default(),
        };
        // What the former queue is busy with must not be begun a second time.
        let queue = match self.service() {
            Some(former) => former.queue.successor(parts)?,
            None => Queue::new(parts)?,
        };
        let service = Service { config, site, resolver, keys, queue };
        *self.site.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(service));
        Ok(())
    }

    /// The configuration file in force, for messages.
    pub fn config_file(&self) -> &Path {
        &self.config_file
    }
}

/// The store as the owner wants it.
fn store_options(config: &Config) -> Options {
    let own = Options::default();
    Options { segment_size: config.segment_size.unwrap_or(own.segment_size), ..own }
}

/// Makes the signing keys, and tries the certificate.
fn prepare(keys: &Path, config: &Config) -> Result<(), SetupError> {
    if let config::TlsMode::Files { certificate, key } = &config.tls {
        Tls::load(certificate, key)?;
    }
    let domains = config.site.as_ref().map(|site| site.domains.as_slice()).unwrap_or_default();
    let made = SigningKeys::open_or_create(keys, domains);
    made.map(drop).map_err(|error| SetupError::Keys(error.to_string()))
}

/// The name a box has in the house before it has one in the world.
pub const NEW_NAME: &str = "pillarbox.local";

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OfficeError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The directory cannot be read.
    #[error(transparent)]
    Accounts(#[from] AccountError),
    /// The signing keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// No resolver.
    #[error(transparent)]
    Dns(#[from] ResolverError),
    /// No queue.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// What was reported cannot be read.
    #[error(transparent)]
    Reports(#[from] ReportsError),
    /// The answers cannot be carried out.
    #[error(transparent)]
    Setup(#[from] SetupError),
}

impl From<StoreError> for OfficeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}
