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

/// Runs the demo until Ctrl-C. `new` leaves the household's box to be set up in the browser.
pub fn run(data: &Path, base: u16, new: bool) -> Result<(), DemoError> {
    appliance::log_to_stderr("error");
    appliance::runtime()?.block_on(async {
        let stop = appliance::stop_on_signal()?;
        let world = World::start(loopback(base + 53))
            .await
            .map_err(|source| DemoError::World { address: loopback(base + 53), source })?;
        world.load(".", WORLD)?;

        let home = Place { data: data.join("home"), base, host: Ipv4Addr::LOCALHOST };
        let far = Place { data: data.join("neighbour"), base: base + 1000, host: FAR_HOST };
        home.prepare(HOME, far.port(25), &world, new)?;
        far.prepare(FAR, home.port(25), &world, false)?;
        let far_box = far.open(board::Kind::None).await?;
        settle(far_box.office(), FAR).await?;
        publish(&world, far_box.office())?;

        let home_box = home.open(board::Kind::Simulated).await?;
        if new {
            tokio::spawn(publish_later(world.clone(), Arc::clone(home_box.office()), stop.clone()));
        } else {
            settle(home_box.office(), HOME).await?;
            publish(&world, home_box.office())?;
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
            file.domain = vec![DomainTable { name: Some(household.domain.to_owned()) }];
            let address = Some(household.people[0].0.to_owned());
            file.owner = Some(OwnerTable { address, password: None });
        }
        file.dns = Some(DnsTable { servers: vec![world.local().to_string()] });
        let outbound = file.outbound.get_or_insert_default();
        outbound.ports = Some(PortsTable { mx: Some(mx_port) });
        file.listen = Some(ListenTable {
            http: self.addresses(80),
            https: self.addresses(443),
            smtp: self.addresses(25),
            submission: self.addresses(587),
            submissions: self.addresses(465),
            imap: self.addresses(143),
            imaps: self.addresses(993),
            pop3: self.addresses(110),
            pop3s: self.addresses(995),
        });
        config::save(&path, &file).map_err(OfficeError::from)?;
        Ok(())
    }

    fn addresses(&self, service: u16) -> Option<Vec<String>> {
        let port = self.port(service);
        let mut addresses = vec![format!("{}:{port}", self.host)];
        if self.host == Ipv4Addr::LOCALHOST {
            addresses.push(format!("[::1]:{port}"));
        }
        Some(addresses)
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

/// Puts the records a box asks for into the DNS world.
fn publish(world: &World, office: &Office) -> Result<(), DemoError> {
    for record in office.records().unwrap_or_default() {
        // The addresses of the demo's hosts are given.
        if matches!(&*record.kind, "A" | "AAAA") {
            continue;
        }
        world.load(".", &record.zone_line())?;
    }
    Ok(())
}

/// In the wizard's demo, somebody publishes the records a little later, so that they can be seen
/// to appear.
async fn publish_later(world: World, office: Arc<Office>, stop: CancellationToken) {
    let mut generations = office.generations();
    while generations.changed().await.is_ok() {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(20)) => {}
        }
        let Some(service) = office.service() else { continue };
        let hostname = &service.site.hostname;
        let address = format!("{hostname}. 5 IN A {NEW_ADDRESS}\n");
        let pointer = format!("{NEW_POINTER}. 5 IN PTR {hostname}.\n");
        let published = publish(&world, &office)
            .and_then(|()| Ok(world.load(".", &address)?))
            .and_then(|()| Ok(world.load(".", &pointer)?));
        if let Err(error) = published {
            tracing::warn!(%error, "the demo's DNS does not take the records");
        }
    }
}

fn greet(place: &Place, appliance: &Appliance, new: bool) {
    let port = |service| place.port(service);
    println!("Pillarbox demo: a post office on this computer. Ctrl-C stops it.\n");
    println!("  Web page   http://localhost:{}", port(80));
    println!("  The board  http://localhost:{}/board", port(80));
    if new && appliance.office().service().is_none() {
        println!(
            "\n  This box is new. The web page asks for this code:  {}",
            appliance.claim_code()
        );
    } else {
        println!("\n  Accounts");
        for (address, password) in HOME.people {
            println!("    {address:<18} password {password}");
        }
        println!("    and a neighbour, {}, on a box of her own", FAR.people[0].0);
    }
    println!("\n  Ports on localhost (a certificate of its own: let your program accept it)");
    for (name, service) in SERVICES {
        println!("    {name:<12} {}", port(service));
    }
    println!("    dns          {}", port(53));
    println!("\n  Data in {}, kept for the next start\n", place.data.display());
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
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

/// Where a box set up in the wizard of the demo is said to be.
const NEW_ADDRESS: &str = "127.0.0.1";
const NEW_POINTER: &str = "1.0.0.127.in-addr.arpa";

/// What stands in this world's DNS from the beginning.
const WORLD: &str = "\
mail.home.test. 5 IN A 127.0.0.1
mail.neighbour.test. 5 IN A 127.0.0.2
1.0.0.127.in-addr.arpa. 5 IN PTR mail.home.test.
2.0.0.127.in-addr.arpa. 5 IN PTR mail.neighbour.test.
";

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
    #[error("the demo's DNS cannot listen on {address}: {source}; choose other ports with --ports")]
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
