//! A post office on this computer: all of it on high ports of the loopback address, with a DNS
//! world of its own, a simulated board, and a neighbour's box to write to. The data folder is kept,
//! so that a second start finds its mail again.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::accounts::Password;
use crate::appliance::{self, Appliance, RunError, RunOptions};
use crate::clock::{Clock, ClockTrust, SystemClock};
use crate::config::{self, DnsTable, DomainTable, FILE_NAME, ListenTable, OwnerTable, PortsTable};
use crate::dns::world::{World, ZoneError};
use crate::mail::{Address, AddressError};
use crate::office::{Office, OfficeError};
use crate::selfcheck::{Scope, own_addresses};
use crate::web::WIZARD_FILE;

/// Runs the demo until Ctrl-C. `new` leaves the household's box to be set up in the browser.
pub fn run(data: &Path, base: u16, new: bool) -> Result<(), DemoError> {
    appliance::log_to_stderr("error");
    appliance::runtime()?.block_on(async {
        let stop = appliance::stop_on_signal()?;
        let worlds = Worlds::start(base).await?;
        let home = Place { data: data.join("home"), base, host: Ipv4Addr::LOCALHOST };
        let far = Place { data: data.join("neighbour"), base: base + FAR_PORTS, host: FAR_HOST };
        home.prepare(HOME, far.port(25), &worlds.home, new)?;
        far.prepare(FAR, home.port(25), &worlds.far, false)?;
        let far_box = far.open(board::Kind::None).await?;
        settle(far_box.office(), FAR).await?;
        worlds.publish(far_box.office())?;

        let home_box = home.open(board::Kind::Simulated).await?;
        if let Some(service) = home_box.office().service() {
            // A box set up in the wizard has people of its own.
            if service.site.domains.iter().any(|domain| domain.as_str() == HOME.domain) {
                settle(home_box.office(), HOME).await?;
            }
            worlds.publish_home(home_box.office())?;
        } else {
            let office = Arc::clone(home_box.office());
            tokio::spawn(publish_later(worlds.clone(), office, stop.clone()));
        }
        greet(&home, &home_box, new);
        let (home, far) = tokio::join!(home_box.serve(stop.clone()), far_box.serve(stop));
        home?;
        far?;
        println!("\nStopped. Your mail stays in {}.", data.display());
        Ok(())
    })
}

/// One of the two boxes of the demo.
struct Place {
    data: PathBuf,
    base: u16,
    host: Ipv4Addr,
}

impl Place {
    fn port(&self, service: u16) -> u16 {
        self.base + service
    }

    /// Writes the box's configuration. The household's own choices stay from start to start;
    /// the ports follow the command line.
    fn prepare(
        &self,
        household: Household,
        mx_port: u16,
        world: &World,
        new: bool,
    ) -> Result<(), DemoError> {
        fs::create_dir_all(&self.data)
            .map_err(|source| DemoError::Folder { path: self.data.clone(), source })?;
        let path = self.data.join(FILE_NAME);
        let mut file = config::load_file(&path).map_err(OfficeError::from)?;
        if file.owner.is_none() && !new {
            // A set-up that was begun and left would ask on.
            match fs::remove_file(self.data.join(WIZARD_FILE)) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(DemoError::Folder { path: self.data.clone(), source });
                }
                _ => {}
            }
            file.domain = vec![DomainTable { name: Some(household.domain.to_owned()) }];
            let address = Some(household.people[0].0.to_owned());
            file.owner = Some(OwnerTable { address, password: None });
        }
        file.dns =
            Some(DnsTable { servers: vec![world.local().to_string()], ..DnsTable::default() });
        let outbound = file.outbound.get_or_insert_default();
        outbound.ports = Some(PortsTable { mx: Some(mx_port), https: None });
        file.listen = Some(ListenTable {
            http: Some(self.addresses(80)),
            https: Some(self.addresses(443)),
            smtp: Some(self.addresses(25)),
            submission: Some(self.addresses(587)),
            submissions: Some(self.addresses(465)),
            imap: Some(self.addresses(143)),
            imaps: Some(self.addresses(993)),
            pop3: Some(self.addresses(110)),
            pop3s: Some(self.addresses(995)),
        });
        config::save(&path, &file).map_err(OfficeError::from)?;
        Ok(())
    }

    fn addresses(&self, service: u16) -> Vec<String> {
        let port = self.port(service);
        let mut addresses = vec![format!("{}:{port}", self.host)];
        if self.host == Ipv4Addr::LOCALHOST {
            addresses.push(format!("[::1]:{port}"));
        }
        addresses
    }

    async fn open(&self, board: board::Kind) -> Result<Appliance, DemoError> {
        let options = RunOptions { data: self.data.clone(), config: None, seed: None, board };
        Ok(Appliance::open(options, Arc::new(ThisComputer)).await?)
    }
}

/// A desktop computer's clock is right; that of a Pi has to prove it.
struct ThisComputer;

impl Clock for ThisComputer {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn trust(&self) -> ClockTrust {
        ClockTrust::Synced
    }
}

/// A made-up family.
#[derive(Clone, Copy)]
struct Household {
    domain: &'static str,
    people: &'static [(&'static str, &'static str)],
}

/// Makes the accounts that are not there yet.
async fn settle(office: &Office, household: Household) -> Result<(), DemoError> {
    for (address, password) in household.people {
        let address: Address = address.parse()?;
        let known = office.accounts().list();
        if !known.iter().any(|account| account.address.key() == address.key()) {
            let password = Password::new((*password).to_owned());
            office.accounts().add(address, password).await.map_err(OfficeError::from)?;
        }
    }
    Ok(())
}

/// The DNS as each box sees it. To the neighbour the household is on this computer; the household
/// sees itself where it would be on the internet, so that its self-check has a healthy world.
#[derive(Clone)]
struct Worlds {
    home: World,
    far: World,
    /// Where the household is said to be.
    public: Vec<IpAddr>,
}

impl Worlds {
    async fn start(base: u16) -> Result<Self, DemoError> {
        let start = async |port| {
            let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
            let started = World::start(address).await;
            started.map_err(|source| DemoError::World { address, source })
        };
        // Mail leaves from the addresses this computer has; behind a router it knows none of them.
        let mut public = own_addresses();
        public.retain(|address| Scope::of(*address) == Scope::Public);
        if public.is_empty() {
            public.push(IpAddr::V4(PUBLIC));
        }
        let worlds = Self {
            home: start(base + 53).await?,
            far: start(base + FAR_PORTS + 53).await?,
            public,
        };
        for world in [&worlds.home, &worlds.far] {
            world.load(".", &address_lines("mail.neighbour.test", &[IpAddr::V4(FAR_HOST)]))?;
        }
        Ok(worlds)
    }

    /// Puts the records a box asks for into both worlds.
    fn publish(&self, office: &Office) -> Result<(), DemoError> {
        for record in office.records().unwrap_or_default() {
            // Where the demo's hosts are is said apart.
            if matches!(&*record.kind, "A" | "AAAA") {
                continue;
            }
            for world in [&self.home, &self.far] {
                world.load(".", &(record.zone_line() + "\n"))?;
            }
        }
        Ok(())
    }

    fn publish_home(&self, office: &Office) -> Result<(), DemoError> {
        let Some(service) = office.service() else { return Ok(()) };
        let hostname = service.site.hostname.as_str();
        self.home.load(".", &address_lines(hostname, &self.public))?;
        self.far.load(".", &address_lines(hostname, &[IpAddr::V4(Ipv4Addr::LOCALHOST)]))?;
        self.publish(office)
    }
}

/// Address records and the way back.
fn address_lines(hostname: &str, addresses: &[IpAddr]) -> String {
    let lines = addresses.iter().map(|address| {
        let (kind, back) = match address {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                ("A", format!("{d}.{c}.{b}.{a}.in-addr.arpa"))
            }
            IpAddr::V6(v6) => {
                let nibbles = v6.octets().into_iter().rev().flat_map(|b| [b & 15, b >> 4]);
                let labels: Vec<String> = nibbles.map(|nibble| format!("{nibble:x}")).collect();
                ("AAAA", format!("{}.ip6.arpa", labels.join(".")))
            }
        };
        format!("{hostname}. 5 IN {kind} {address}\n{back}. 5 IN PTR {hostname}.\n")
    });
    lines.collect()
}

/// In the wizard's demo, somebody publishes the records a little later, so that they can be seen
/// to appear.
async fn publish_later(worlds: Worlds, office: Arc<Office>, stop: CancellationToken) {
    let mut generations = office.generations();
    while generations.changed().await.is_ok() {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(20)) => {}
        }
        if let Err(error) = worlds.publish_home(&office) {
            tracing::error!(%error, "the demo's DNS does not take the records");
        }
    }
}

fn greet(place: &Place, appliance: &Appliance, new: bool) {
    let port = |service| place.port(service);
    println!("Pillarbox demo: a post office on this computer. Ctrl-C stops it.\n");
    println!("  Web page   http://localhost:{}", port(80));
    println!("  The board  http://localhost:{}/board", port(80));
    if appliance.office().service().is_none() {
        println!(
            "\n  This box is new. The web page asks for this code:  {}",
            appliance.claim_code()
        );
    } else {
        if new {
            println!(
                "\n  This box is set up already; for a new one, name another folder with --data."
            );
        }
        println!("\n  Accounts");
        for account in appliance.office().accounts().list() {
            let address = account.address.to_string();
            let given = HOME.people.iter().find(|(known, _)| *known == address);
            let password = given.map_or("the one you chose".to_owned(), |(_, password)| {
                format!("{password} (unless you changed it)")
            });
            println!("    {address:<18} password: {password}");
        }
        println!("    and a neighbour, {}, on a box of her own", FAR.people[0].0);
    }
    println!("\n  Ports on localhost (a certificate of its own: let your program accept it)");
    for (name, service) in SERVICES {
        println!("    {name:<12} {}", port(service));
    }
    println!("    dns          {}", port(53));
    println!("\n  Data in {}, kept for the next start", place.data.display());
}

const HOME: Household = Household {
    domain: "home.test",
    people: &[("alice@home.test", "demo-alice"), ("bob@home.test", "demo-bob")],
};

const FAR: Household =
    Household { domain: "neighbour.test", people: &[("carol@neighbour.test", "demo-carol")] };

/// The neighbour's box has another address of the loopback network, as it would have another
/// address on the internet.
const FAR_HOST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The neighbour's ports are this much higher.
const FAR_PORTS: u16 = 1000;

/// Stands for the household's line when this computer's address is a private one (RFC 5737).
const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 25);

const SERVICES: [(&str, u16); 9] = [
    ("http", 80),
    ("https", 443),
    ("smtp", 25),
    ("submission", 587),
    ("submissions", 465),
    ("imap", 143),
    ("imaps", 993),
    ("pop3", 110),
    ("pop3s", 995),
];

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// One of the boxes does not run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// An account could not be made.
    #[error(transparent)]
    Office(#[from] OfficeError),
    /// The DNS world has no port.
    #[error(
        "cannot listen on {address}: {source}; stop the other demo, or choose other ports with --ports"
    )]
    World {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A record is not understood.
    #[error(transparent)]
    Zone(#[from] ZoneError),
    /// An address of the demo is wrong.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The data folder cannot be used.
    #[error("cannot use {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
