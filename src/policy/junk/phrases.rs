//! Phrases that people rarely write to people they know, by the kind of mail they come from. They
//! are what everybody can tell who ever had a mailbox, written down by hand; each alone proves
//! nothing, and a classifier that has learned from its owner's mail outweighs them.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::tokens::Hash;

/// What a phrase is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Fortunes of strangers, to be shared for a fee; lotteries nobody took part in.
    Fortune,
    /// Income without work, loans, debts.
    Money,
    /// Medicine without a doctor, bodies to be changed.
    Pills,
    /// Sex.
    Adult,
    /// Casinos and bets.
    Gambling,
    /// Accounts to be "confirmed".
    Account,
    /// Threats.
    Extortion,
    /// Shares and coins about to rise.
    Stocks,
    /// Offers that end today.
    Selling,
    /// What bulk mail says about itself.
    Bulk,
    /// Codes and confirmations that somebody asked for: no junk when the sender is proved.
    SignUp,
}

impl Topic {
    /// All topics.
    pub const ALL: [Self; 11] = [
        Self::Fortune,
        Self::Money,
        Self::Pills,
        Self::Adult,
        Self::Gambling,
        Self::Account,
        Self::Extortion,
        Self::Stocks,
        Self::Selling,
        Self::Bulk,
        Self::SignUp,
    ];
}

/// How often phrases of each topic were met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found([u16; Topic::ALL.len()]);

impl Found {
    /// Phrases of a topic.
    pub fn of(&self, topic: Topic) -> u16 {
        self.0.get(topic as usize).copied().unwrap_or_default()
    }

    fn add(&mut self, topic: Topic) {
        if let Some(count) = self.0.get_mut(topic as usize) {
            *count = count.saturating_add(1);
        }
    }
}

/// Finds phrases in words as they come.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The last words, the latest first.
    last: [Option<Hash>; LONGEST - 1],
}

impl Reader {
    /// The next word.
    pub(super) fn word(&mut self, word: Hash, found: &mut Found) {
        let mut phrase = word;
        for before in std::iter::once(None).chain(self.last.iter().copied().map(Some)) {
            phrase = match before {
                None => Hash::EMPTY.and_hash(word),
                Some(Some(earlier)) => phrase.and_hash(earlier),
                Some(None) => break,
            };
            if let Some(topic) = KNOWN.get(&phrase.finish()) {
                found.add(*topic);
            }
        }
        self.last.rotate_right(1);
        if let Some(first) = self.last.first_mut() {
            *first = Some(word);
        }
    }
}

/// Finds phrases in text that parts no words.
pub(super) fn in_run(run: &str, found: &mut Found) {
    for (topic, phrases) in RUNS {
        if phrases.split(',').map(str::trim).any(|phrase| run.contains(phrase)) {
            found.add(*topic);
        }
    }
}

/// Whether a word alone is a phrase.
pub(super) fn is_known(word: Hash) -> bool {
    KNOWN.contains_key(&Hash::EMPTY.and_hash(word).finish())
}

/// Most words of a phrase.
const LONGEST: usize = 4;

static KNOWN: LazyLock<HashMap<u64, Topic>> = LazyLock::new(|| {
    let mut known = HashMap::new();
    for (topic, phrases) in PHRASES {
        for phrase in phrases.split(',').map(str::trim).filter(|phrase| !phrase.is_empty()) {
            // From the last word on, as the reader looks back.
            let words = phrase.split_whitespace().rev();
            let hash = words.fold(Hash::EMPTY, |all, word| all.and_hash(Hash::of(word)));
            known.insert(hash.finish(), *topic);
        }
    }
    known
});

/// `$` stands for any sum of money, `0` for any other number.
const PHRASES: &[(Topic, &str)] = &[
    (
        Topic::Fortune,
        "next of kin, million united states, million us dollars, million dollars, $ million, \
         million usd, late husband, late father, deceased client, business proposal, \
         strictly confidential, utmost confidentiality, utmost secrecy, foreign partner, \
         transfer the fund, transfer of funds, transfer the funds, sum of $, the sum of, \
         security company, consignment, diplomatic courier, barrister, beneficiary, \
         your full cooperation, bank of nigeria, lottery, your winning, winning notification, \
         you have won, lucky winner, claim your prize, donation to you, compensation fund, \
         inheritance, god bless you, dear beloved, your urgent response, \
         million euro, millionen euro, erbschaft, nachlass, gewinnbenachrichtigung, \
         sie haben gewonnen, vous avez gagné, ha sido seleccionado",
    ),
    (
        Topic::Money,
        "make money, earn money, earn up to, earn $, earn extra, extra income, extra cash, \
         fast cash, cash bonus, work from home, home based business, own boss, be your own, \
         financial freedom, financial independence, get out of debt, out of debt, \
         consolidate your, debt consolidation, credit card debt, bad credit, no credit check, \
         credit repair, mortgage rates, mortgage rate, refinance, home loan, \
         lowest rates, pre approved, pre-approved, loan offer, personal loan, business loan, \
         unsecured loan, mlm, multi level, network marketing, downline, pyramid scheme, \
         income potential, residual income, $ a month, $ a week, $ a day, \
         thousands of dollars, potential earnings, life insurance, term life, \
         term insurance, tax free, tax-free, investment opportunity, business opportunity, \
         this opportunity, kredit ohne schufa, sofortkredit, nebenverdienst, geld verdienen, \
         passives einkommen, crédit rapide, gane dinero",
    ),
    (
        Topic::Pills,
        "viagra, cialis, levitra, sildenafil, tadalafil, phentermine, xanax, valium, tramadol, \
         vicodin, hgh, human growth hormone, growth hormone, weight loss, lose weight, \
         losing weight, lose up to, pounds in, burn fat, fat burning, diet pill, diet pills, \
         all natural, online pharmacy, canadian pharmacy, \
         without a no male enhancement, penis, enlargement, \
         erectile, erection, libido, hair loss, anti-aging, anti aging, wrinkles, \
         wrinkle, cbd oil, cbd gummies, potenzmittel, abnehmen, rezeptfrei, ohne rezept, \
         pharmacie en ligne, adelgazar",
    ),
    (
        Topic::Adult,
        "xxx, porn, porno, sex, sexy, horny, hardcore, nude, naked, erotic, hot girls, \
         young girls, live girls, webcam girls, sluts, orgy, adult site, adult sites, \
         adult content, hot singles, singles in your, lonely housewives, dating site, hookup, \
         must be 0, over 0 years, ficken, nackt, sexkontakte",
    ),
    (
        Topic::Gambling,
        "casino, casinos, free spins, slot machines, jackpot, online gambling, sportsbook, \
         online poker, poker room, blackjack, roulette, bonus code, welcome bonus, \
         online casino, freispiele",
    ),
    (
        Topic::Account,
        "verify your account, confirm your account, verify your identity, confirm your identity, \
         update your account, your account has been, account has been suspended, \
         account will be suspended, account will be closed, account is limited, \
         been limited, unusual activity, suspicious activity, unauthorized login, \
         validate your, re-activate your, reactivate your, restore your account, \
         mailbox is full, mailbox is almost, storage limit, quota exceeded, \
         password will expire, password expires, keep same password, keep current password, \
         pending messages, undelivered messages, click below to, failure to comply, \
         konto gesperrt, konto wurde eingeschränkt, konto bestätigen, konto verifizieren, \
         daten bestätigen, ihr paket, zollgebühren, votre compte, su cuenta, \
         package could not be, delivery attempt failed",
    ),
    (
        Topic::Extortion,
        "recorded you, your webcam, your front camera, masturbating, i hacked your, have hacked your, \
         send bitcoin, bitcoin wallet, btc wallet, bitcoin address, \
         to all your contacts, pay the ransom, dark web, darkweb, \
         i know your password, infected with",
    ),
    (
        Topic::Stocks,
        "penny stock, stock alert, hot stock, strong buy, target price, \
         double your bitcoin, crypto trading, bitcoin trading, trading bot, trading platform, \
         trading signals, forward looking statements, investor alert, \
         guaranteed returns, guaranteed profit, return on investment, stock pick, \
         bitcoin era, geldanlage, krypto handel",
    ),
    (
        Topic::Selling,
        "act now, order now, order today, buy now, call now, call today, click here, \
         click below, click on the link, click the link, click this link, limited time, \
         limited time offer, limited offer, special offer, special promotion, free trial, \
         absolutely free, 100% free, free gift, free bonus, free sample, free access, \
         free report, free information, free quote, free consultation, risk free, risk-free, \
         no risk, no obligation, no cost, at no cost, no fees, no catch, no gimmicks, \
         money back, money back guarantee, money-back guarantee, satisfaction guaranteed, \
         100% guaranteed, lowest price, lowest prices, best price, best prices, \
         low price, save up to, save $, save big, as seen on, as low as, once in a, \
         while supplies last, don't delay, do not delay, don't miss, offer expires, \
         expires soon, great offer, \
         one time offer, one-time, credit cards accepted, visa mastercard, toll free, \
         toll-free, fill out the, visit our website, visit our web, cable descrambler, \
         satellite tv, university diploma, diplomas, degree program, replica watches, rolex, \
         seo services, first page of google, website traffic, web traffic, search engines, \
         email marketing, email leads, bulk email, bulk e-mail, mass email, email addresses, \
         million email, targeted email, cd rom, ink cartridges, toner, extended warranty, \
         jetzt bestellen, jetzt kaufen, nur heute, kostenlos testen, gratis, \
         hier klicken, cliquez ici, offre spéciale, haga clic, oferta especial",
    ),
    (
        Topic::Bulk,
        "is not spam, not a spam, this is not spam, bulk mail, one time mailing, \
         one-time mailing, removed from our, removed from this, removed from future, \
         be removed, to be removed, remove in the, remove me, word remove, remove your, \
         to remove, removal instructions, remove list, opt out, opt-out, opted in, \
         opt-in list, unsubscribe from future, future mailings, future emails, \
         future offers, our mailing list, received this email, \
         receiving this email, receiving this message, received this message, \
         in compliance with, bill s 0, our partners, \
         no longer wish to, wish to receive, dear homeowner, dear sir or madam, dear customer, \
         dear email user, sehr geehrte kundin",
    ),
    (
        Topic::SignUp,
        "verification code, security code, confirmation code, authentication code, sign-in code, \
         sign in code, login code, log in code, access code, one-time code, one-time password, \
         one time password, one-time passcode, one-time pin, your code is, code is 0, your code 0, \
         is your code, use this code, enter this code, enter the code, confirm your email, \
         confirm your e-mail, confirm your subscription, confirm your registration, \
         confirm the registration, verify your email, verify your e-mail, verify your device, \
         activate your account, finish signing up, complete your registration, \
         reset your password, reset the password, password reset, \
         bestätigungscode, sicherheitscode, anmeldecode, verifizierungscode, einmalpasswort, \
         einmalcode, zugangscode, ihre tan, bestätige deine e-mail-adresse, \
         e-mail-adresse bestätigen, bestätigen sie ihre e-mail-adresse, registrierung bestätigen, \
         anmeldung bestätigen, passwort zurücksetzen, \
         code de vérification, code de sécurité, code de confirmation, code d'accès, \
         confirmez votre adresse, valider votre adresse, activez votre compte, \
         votre mot de passe, \
         código de verificación, código de seguridad, código de confirmación, código de acceso, \
         confirma tu correo, activa tu cuenta, activar tu cuenta, restablecer tu contraseña, \
         codice di verifica, codice di sicurezza, codice di accesso, conferma il tuo indirizzo, \
         conferma la tua email, reimposta la password, \
         verificatiecode, bevestigingscode, beveiligingscode, inlogcode, \
         bevestig je e-mailadres, bevestig uw e-mailadres, \
         kod weryfikacyjny, potwierdź swój adres, potwierdzić adres, \
         código de verificação, código de acesso, confirme seu e-mail, redefinir sua senha, \
         engångskod, verifieringskod, bekräfta din e-postadress, engangskode, \
         bekræftelseskode, bekræft din e-mailadresse, bekreft e-postadressen, vahvistuskoodi, \
         vahvistuskoodisi, vahvista sähköpostiosoitteesi, ověřovací kód, overovací kód, \
         megerősítő kód, ellenőrző kód, erősítsd meg az e-mail-címedet, codul de verificare, \
         cod de verificare, codul dumneavoastră de verificare, doğrulama kodu, doğrulama kodunuz, \
         код подтверждения, код для входа, код підтвердження, підтвердьте адресу, \
         підтвердити адресу, κωδικός επαλήθευσης, رمز التحقق, קוד אימות, 인증번호, 인증번호는",
    ),
];

/// Phrases of scripts that part no words.
const RUNS: &[(Topic, &str)] = &[(
    Topic::SignUp,
    "验证码, 驗證碼, 認証コード, 確認コード, ワンタイムパスワード, パスワードの再設定, 会員登録を完了, \
     メールアドレスの確認, รหัสยืนยัน",
)];
