//! Turning a new machine into a household's post office, by one path for the browser, the seed on
//! the card and `pillarbox setup`: check the answers, make the owner's account and the signing
//! keys, write the configuration. Every step may be repeated: after a power cut, or with the same
//! answers again, the result is the same, and nothing that was there is lost.

use std::future::Future;
use std::path::Path;

use crate::accounts::{AccountError, Accounts, Password};
use crate::config::{self, Config, ConfigError, ConfigFile, FILE_NAME, Site};
use crate::mail::{Address, Domain};
use crate::net::TlsError;

/// Checks the answers and carries them out.
///
/// `path` is the configuration file. `replaces` is an account that a former run of the same set-up
/// made and whose address turned out to be a slip; it is removed unless it is the owner's still.
/// `prepare` makes what the configuration needs, such as keys, and tries what it names, so that a
/// box never has a configuration it could not start with.
pub async fn apply<H: Household>(
    mut answers: ConfigFile,
    replaces: Option<&Address>,
    path: &Path,
    household: &H,
    prepare: impl AsyncFnOnce(Config) -> Result<(), SetupError>,
) -> Result<Config, SetupError> {
    answers.keep_secrets_of(&config::load_file(path)?);
    let wanted = answers.resolve(FILE_NAME)?;
    let site = wanted.site.clone().ok_or(SetupError::NothingSaid)?;
    let password = answers.owner.as_ref().and_then(|owner| owner.password.clone());

    // The configuration last: a box that has one counts as set up.
    owner(&site, password, replaces, household).await?;
    prepare(wanted).await?;
    Ok(config::save(path, &answers)?)
}

async fn owner<H: Household>(
    site: &Site,
    password: Option<Password>,
    replaces: Option<&Address>,
    household: &H,
) -> Result<(), SetupError> {
    let exists = household.has_account(&site.owner);
    // Before anything is changed.
    match &password {
        None if !exists => return Err(SetupError::NoPassword(site.owner.clone())),
        Some(password) if password.expose().chars().count() < Password::MIN => {
            return Err(AccountError::ShortPassword.into());
        }
        _ => {}
    }
    household.set_domains(site.domains.clone());
    match password {
        Some(password) if exists => household.set_password(&site.owner, password).await?,
        Some(password) => household.add(&site.owner, password).await?,
        None => {}
    }
    if let Some(former) = replaces
        && former.key() != site.owner.key()
        && household.has_account(former)
    {
        household.remove(former).await?;
    }
    Ok(())
}

/// What the set-up needs of the directory of accounts.
pub trait Household: Send + Sync {
    /// Replaces our domains.
    fn set_domains(&self, domains: Vec<Domain>);
    /// Whether an account has this address.
    fn has_account(&self, address: &Address) -> bool;
    /// Makes an account.
    fn add(
        &self,
        address: &Address,
        password: Password,
    ) -> impl Future<Output = Result<(), AccountError>> + Send;
    /// Sets an account's password.
    fn set_password(
        &self,
        address: &Address,
        password: Password,
    ) -> impl Future<Output = Result<(), AccountError>> + Send;
    /// Removes an account.
    fn remove(&self, address: &Address) -> impl Future<Output = Result<(), AccountError>> + Send;
}

impl Household for Accounts {
    fn set_domains(&self, domains: Vec<Domain>) {
        Self::set_domains(self, domains);
    }

    fn has_account(&self, address: &Address) -> bool {
        self.list().iter().any(|account| account.address.key() == address.key())
    }

    async fn add(&self, address: &Address, password: Password) -> Result<(), AccountError> {
        Self::add(self, address.clone(), password).await.map(drop)
    }

    async fn set_password(
        &self,
        address: &Address,
        password: Password,
    ) -> Result<(), AccountError> {
        Self::set_password(self, address, password).await
    }

    async fn remove(&self, address: &Address) -> Result<(), AccountError> {
        Self::remove(self, address).await
    }
}

/// Why the box could not be set up. The person answering is wrong, or the disk is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// An answer is missing or wrong, or the file cannot be written.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The answers name neither a domain nor an owner.
    #[error(
        "{FILE_NAME}, [domain] name and [owner] address: are missing; without them the box does \
         not know whose mail to keep"
    )]
    NothingSaid,
    /// A new account without a password.
    #[error(
        "{FILE_NAME}, [owner] password: is missing; the account {0} is new and needs one of at \
         least {min} characters",
        min = Password::MIN
    )]
    NoPassword(Address),
    /// The account could not be made.
    #[error("the owner's account could not be made: {0}")]
    Account(#[from] AccountError),
    /// The certificate named cannot be used.
    #[error(transparent)]
    Certificate(#[from] TlsError),
    /// No signing keys.
    #[error("the keys that sign your mail could not be made: {0}")]
    Keys(String),
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::*;
    use crate::policy::dkim::SigningKeys;
    use crate::store::{Options, Store};

    #[derive(Default)]
    struct House {
        accounts: Mutex<BTreeMap<String, String>>,
        domains: Mutex<Vec<Domain>>,
    }

    impl House {
        fn password(&self, address: &str) -> Option<String> {
            self.accounts.lock().unwrap().get(address).cloned()
        }
    }

    impl Household for House {
        fn set_domains(&self, domains: Vec<Domain>) {
            *self.domains.lock().unwrap() = domains;
        }

        fn has_account(&self, address: &Address) -> bool {
            self.accounts.lock().unwrap().contains_key(&address.key())
        }

        async fn add(&self, address: &Address, password: Password) -> Result<(), AccountError> {
            if !self.domains.lock().unwrap().contains(address.domain()) {
                return Err(AccountError::ForeignDomain(address.domain().clone()));
            }
            let password = password.expose().to_owned();
            self.accounts.lock().unwrap().insert(address.key(), password);
            Ok(())
        }

        async fn set_password(
            &self,
            address: &Address,
            password: Password,
        ) -> Result<(), AccountError> {
            self.add(address, password).await
        }

        async fn remove(&self, address: &Address) -> Result<(), AccountError> {
            self.accounts.lock().unwrap().remove(&address.key());
            Ok(())
        }
    }

    fn answers(address: &str, password: &str) -> ConfigFile {
        let domain = address.rsplit_once('@').unwrap().1;
        let text = format!(
            "[domain]\nname = \"{domain}\"\n[owner]\naddress = \"{address}\"\n\
             password = \"{password}\"\n"
        );
        ConfigFile::parse(&text, FILE_NAME).unwrap()
    }

    async fn run(house: &House, data: &Path, answers: ConfigFile) -> Result<Config, SetupError> {
        apply(answers, None, &data.join(FILE_NAME), house, async |_| Ok(())).await
    }

    #[tokio::test]
    async fn answers_can_be_given_twice() {
        let (house, data) = (House::default(), tempfile::tempdir().unwrap());
        let first = answers("alice@example.org", "open sesame");
        run(&house, data.path(), first.clone()).await.unwrap();
        run(&house, data.path(), first).await.unwrap();
        assert_eq!(house.password("alice@example.org").unwrap(), "open sesame");

        // A seed that was rewritten without secrets leaves the password alone, a new one sets it.
        run(&house, data.path(), answers("alice@example.org", "")).await.unwrap();
        assert_eq!(house.password("alice@example.org").unwrap(), "open sesame");
        run(&house, data.path(), answers("alice@example.org", "a new one")).await.unwrap();
        assert_eq!(house.password("alice@example.org").unwrap(), "a new one");

        let text = std::fs::read_to_string(data.path().join(FILE_NAME)).unwrap();
        assert!(!text.contains("password =") && text.contains("alice@example.org"), "{text}");
    }

    #[tokio::test]
    async fn a_box_is_not_set_up_by_half() {
        let (house, data) = (House::default(), tempfile::tempdir().unwrap());
        let path = data.path().join(FILE_NAME);
        let said = |result: Result<Config, SetupError>| result.unwrap_err().to_string();

        let empty = said(run(&house, data.path(), ConfigFile::default()).await);
        assert!(empty.contains("[domain] name"), "{empty}");
        let open = said(run(&house, data.path(), answers("alice@example.org", "")).await);
        assert!(open.contains("[owner] password: is missing"), "{open}");
        let short = said(run(&house, data.path(), answers("alice@example.org", "1234567")).await);
        assert!(short.contains("at least 8 characters"), "{short}");
        assert!(house.accounts.lock().unwrap().is_empty());

        let right = answers("alice@example.org", "open sesame");
        let keyless = apply(right.clone(), None, &path, &house, async |_| {
            Err(SetupError::Keys("no room".into()))
        });
        assert!(said(keyless.await).contains("no room"));
        assert!(!path.exists(), "a box without keys must not count as set up");
        run(&house, data.path(), right).await.unwrap();
        assert!(path.exists());
    }

    #[tokio::test]
    async fn the_owner_can_log_in_to_a_box_that_was_set_up() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path(), Options::default()).unwrap();
        let accounts = Accounts::open(store, Vec::new()).unwrap();
        let keys = data.path().join("keys");
        for _ in 0..2 {
            let make_keys = async |config: Config| {
                let made = SigningKeys::open_or_create(&keys, &config.site.unwrap().domains);
                made.map(drop).map_err(|error| SetupError::Keys(error.to_string()))
            };
            let answers = answers("alice@example.org", "open sesame");
            apply(answers, None, &data.path().join(FILE_NAME), &accounts, make_keys).await.unwrap();
        }
        let (password, peer) = (Password::new("open sesame".into()), [192, 0, 2, 1].into());
        let login = accounts.authenticate("alice@example.org", password, peer).await.unwrap();
        assert_eq!(login.address.to_string(), "alice@example.org");
        assert_eq!(accounts.list().len(), 1);
        assert!(keys.read_dir().unwrap().count() > 0);
    }

    #[tokio::test]
    async fn a_slip_in_the_address_leaves_no_account_behind() {
        let (house, data) = (House::default(), tempfile::tempdir().unwrap());
        run(&house, data.path(), answers("alice@exmaple.org", "open sesame")).await.unwrap();
        let slip: Address = "alice@exmaple.org".parse().unwrap();
        for _ in 0..2 {
            let right = answers("alice@example.org", "open sesame");
            apply(right, Some(&slip), &data.path().join(FILE_NAME), &house, async |_| Ok(()))
                .await
                .unwrap();
        }
        assert!(house.password("alice@exmaple.org").is_none());
        // The same address again is not removed.
        let (right, same) =
            (answers("alice@example.org", ""), "Alice@example.org".parse().unwrap());
        apply(right, Some(&same), &data.path().join(FILE_NAME), &house, async |_| Ok(()))
            .await
            .unwrap();
        assert!(house.password("alice@example.org").is_some());
    }
}
