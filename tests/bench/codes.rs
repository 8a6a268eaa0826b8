//! Mail that somebody waits for at this moment: sign-up codes, confirmations, links to a new
//! password. All of it is made up, after the habits of such mail in many countries and trades: some
//! is one line of text, some is a page of HTML with a picture, small print and a link that leads
//! through somebody else.

/// A mail of this kind.
pub(crate) struct Code {
    from: &'static str,
    subject: &'static str,
    text: &'static str,
    dress: Dress,
}

/// How it is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dress {
    Plain,
    /// A text, and the same as HTML.
    Both,
    /// HTML alone.
    Page,
    /// HTML alone, with a hidden preview, a picture, a dot that counts readers and a footer.
    Shop,
}

use Dress::{Both, Page, Plain, Shop};

impl Code {
    /// As it comes over the wire.
    pub(crate) fn message(&self, number: usize) -> Vec<u8> {
        let domain = self.from.rsplit_once('@').map_or("", |(_, host)| host.trim_end_matches('>'));
        let subject = word(self.subject);
        let from = match self.from.rsplit_once(' ') {
            Some((name, address)) => format!("{} {address}", word(name)),
            None => self.from.to_owned(),
        };
        let plain = "Content-Type: text/plain; charset=utf-8\r\n\
                     Content-Transfer-Encoding: quoted-printable\r\n\r\n";
        let page = plain.replace("plain; ", "html; ");
        let html = quoted(&self.html(domain));
        let body = match self.dress {
            Plain => format!("{plain}{}\r\n", quoted(self.text)),
            Page | Shop => format!("{page}{html}\r\n"),
            Both => format!(
                "Content-Type: multipart/alternative; boundary=\"b{number}\"\r\n\r\n--b{number}\r\n\
                 {plain}{}\r\n--b{number}\r\n{page}{html}\r\n--b{number}--\r\n",
                quoted(self.text)
            ),
        };
        format!(
            "Received: from mta{number}.{domain} (mta{number}.{domain} [192.0.2.{}])\r\n\
             \tby mx.house.example with ESMTPS; Mon, 02 Mar 2026 10:00:0{} +0000\r\n\
             From: {from}\r\nTo: anna@house.example\r\nSubject: {subject}\r\n\
             Date: Mon, 02 Mar 2026 10:00:00 +0000\r\n\
             Message-ID: <{number}.20260302@{domain}>\r\nMIME-Version: 1.0\r\n{body}",
            number % 250 + 1,
            number % 10,
        )
        .into_bytes()
    }

    fn html(&self, domain: &str) -> String {
        let text = self.text.replace('\n', "<br>\n");
        if self.dress != Shop {
            return format!("<html><body><p>{text}</p></body></html>");
        }
        format!(
            "<!doctype html><html><head><style>.b{{color:#fff}}</style></head>\
             <body bgcolor=\"#f4f4f4\"><div style=\"display:none\">{}</div>\n\
             <table width=\"600\"><tr><td><img src=\"https://img.{domain}/logo.png\" width=\"120\" \
             height=\"40\"></td></tr>\n<tr><td><font face=\"Arial\">{text}</font></td></tr>\n\
             <tr><td><a href=\"https://click.mailer.example/c/9f8a7b\">{domain}</a> \
             &copy; 2026. <a href=\"https://{domain}/privacy\">Privacy</a></td></tr></table>\n\
             <img src=\"https://click.mailer.example/o/9f8a7b.gif\" width=\"1\" height=\"1\">\
             </body></html>",
            self.subject
        )
    }
}

/// As a header field holds it (RFC 2047).
fn word(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let bytes = text.bytes().map(|byte| match byte {
        b' ' => "_".to_owned(),
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => char::from(byte).to_string(),
        other => format!("={other:02X}"),
    });
    format!("=?utf-8?Q?{}?=", bytes.collect::<String>())
}

/// Quoted-printable (RFC 2045 §6.7), with soft breaks.
fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    let mut column = 0;
    for byte in text.bytes() {
        let piece = match byte {
            b'\n' => "\r\n".to_owned(),
            b' ' | b'!'..=b'<' | b'>' | b'@'..=b'^' | b'`'..=b'~' => char::from(byte).to_string(),
            other => format!("={other:02X}"),
        };
        column = if byte == b'\n' { 0 } else { column + piece.len() };
        if column > 72 {
            quoted.push_str("=\r\n");
            column = piece.len();
        }
        quoted.push_str(&piece);
    }
    quoted
}

const fn code(dress: Dress, from: &'static str, subject: &'static str, text: &'static str) -> Code {
    Code { from, subject, text, dress }
}

/// All of them.
#[rustfmt::skip]
pub(crate) const CODES: &[Code] = &[
    code(Plain, "Parcel Point <no-reply@parcelpoint.example>", "Your code: 482913",
        "Your code is 482913. It expires in 10 minutes."),
    code(Plain, "noreply@forge.example", "[Forge] Please verify your device",
        "Hey anna!\n\nA sign in attempt requires further verification because we did not recognize your device. To complete the sign in, enter the verification code on the unrecognized device.\n\nDevice: Firefox on Linux\nVerification code: 730114\n\nIf you did not attempt to sign in to your account, your password may be compromised. Visit https://forge.example/settings/security to create a new, strong password.\n\nThanks,\nThe Forge Team"),
    code(Both, "Northbank <alerts@secure.northbank.example>", "Your one-time passcode",
        "Dear Customer,\n\nYour one-time passcode is 118 204. Never share this code with anyone, even our staff.\nIf you did not request it, call us on 0800 555 0134.\n\nNorthbank"),
    code(Shop, "Lumen Lamps <hello@lumenlamps.example>", "Confirm your email and get 10% off your first order!",
        "Welcome to Lumen!\nClick the button below to confirm your email address. As a thank you, here is 10% off your first order.\nCONFIRM MY EMAIL\nThis offer expires in 7 days."),
    code(Shop, "Streamly <info@mail.streamly.example>", "Finish signing up for your free trial",
        "Almost there. Verify your email to start your FREE 30-day trial.\nVERIFY EMAIL\nNo commitment. Cancel anytime. Questions? Visit the Help Center."),
    code(Page, "Cloudbox <no-reply@cloudbox.example>", "Reset your password",
        "Someone asked to reset the password for your account. <a href=\"https://cloudbox.example/reset?t=ab12cd34\">Reset password</a>\nIf this was not you, you can ignore this message. The link is valid for 24 hours."),
    code(Plain, "Sunny Days Nursery <office@sunnydays.example>", "Confirm your registration",
        "Hello,\nplease confirm the registration for the parents' portal by opening this link:\nhttps://portal.sunnydays.example/c/5f3e9\nKind regards"),
    code(Both, "GameHub Support <noreply@gamehub.example>", "Your GameHub account: access from new computer",
        "Dear anna_1987,\nHere is the GameHub Guard code you need to login to account anna_1987:\n\nR7KQ2\n\nThis email was generated because of a login attempt from a computer located at 198.51.100.7. No one can access your account without also accessing this email."),
    code(Plain, "verify@chatter.example", "482 771 is your Chatter code",
        "482 771 is your Chatter code. Don't share it."),
    code(Page, "Payline <service@payline.example>", "Security code: 005518",
        "Hello Anna Berg,\n<b>005518</b> is your security code. Enter it to confirm your payment of $48.20 to Bike Barn.\nIt expires in 5 minutes. We will never call you to ask for it."),
    code(Shop, "Trainline Direct <tickets@traindirect.example>", "Verify your account to see your tickets",
        "Hi Anna,\nVerify your account so that you can see your tickets. Click here to verify. If you have trouble, copy the link into your browser.\nVERIFY MY ACCOUNT"),
    code(Both, "The Open University Library <library@ou.example>", "Activate your library account",
        "Dear member,\n\nYour library card 20491183 is ready. Please activate your account and choose a password within 14 days:\nhttps://library.ou.example/activate/20491183\n\nThe library team"),
    code(Page, "Homely <no-reply@account.homely.example>", "YOUR LOGIN CODE",
        "<h1>419 663</h1>Use this code to log in to Homely. It works once and for 15 minutes."),
    code(Plain, "Health Portal <do-not-reply@health.gov.example>", "Security code for your Health Portal account",
        "Use security code 902177 to sign in.\n\nThis is an automated message. Do not reply. Your GP surgery cannot help with sign in problems."),
    code(Shop, "Pawfect <woof@pawfect.example>", "Anna, please confirm your subscription",
        "One more click! Confirm your subscription to get our newsletter with tips, special offers and free samples for Bello.\nYES, SUBSCRIBE ME\nIf you received this email by mistake, simply delete it. You won't be subscribed if you don't click."),
    code(Plain, "accounts@coinkeep.example", "CoinKeep withdrawal confirmation",
        "You asked to withdraw 0.0140 BTC to the bitcoin address bc1q-example. Confirm with code 661042 within 30 minutes. If this was not you, freeze your account at once."),
    code(Plain, "Stadtwerke <kundenportal@stadtwerke.example>", "Ihr Bestätigungscode",
        "Guten Tag,\n\nIhr Bestätigungscode lautet 552913. Er ist 10 Minuten gültig.\n\nIhre Stadtwerke"),
    code(Shop, "Möbelwelt <service@moebelwelt.example>", "Bitte bestätige deine E-Mail-Adresse",
        "Hallo Anna,\nschön, dass du da bist! Bitte bestätige deine E-Mail-Adresse, dann kann es losgehen. Dein Gutschein über 10 € wartet schon auf dich.\nE-MAIL-ADRESSE BESTÄTIGEN\nKeine Lust mehr auf Post von uns? Hier klicken."),
    code(Both, "Sparkasse Musterstadt <noreply@spk-musterstadt.example>", "Ihre TAN für die Anmeldung",
        "Sehr geehrte Kundin, sehr geehrter Kunde,\n\nIhre TAN für die Anmeldung im Online-Banking lautet: 7741 02\n\nGeben Sie die TAN niemals weiter. Wir fragen Sie nie danach.\n\nIhre Sparkasse"),
    code(Page, "Turnverein 1899 <anmeldung@tv1899.example>", "Passwort zurücksetzen",
        "Hallo,\njemand möchte das Passwort deines Kontos zurücksetzen. <a href=\"https://tv1899.example/neu?x=91\">Neues Passwort wählen</a>\nWarst du das nicht, dann ist nichts zu tun."),
    code(Plain, "kita@bezirk-nord.example", "Registrierung bestätigen",
        "Guten Tag, um Ihre Anmeldung im Kita-Navigator abzuschließen, rufen Sie bitte innerhalb von 48 Stunden diese Seite auf: https://kita.bezirk-nord.example/r/8841"),
    code(Shop, "La Boutique <bonjour@laboutique.example>", "Votre code de vérification : 203 884",
        "Bonjour Anna,\nVoici votre code de vérification : 203 884. Il expire dans 10 minutes.\nVous n'êtes pas à l'origine de cette demande ? Ignorez ce message."),
    code(Plain, "Impôts <ne-pas-repondre@impots.example>", "Confirmez votre adresse électronique",
        "Madame, Monsieur,\n\nPour valider votre adresse électronique, cliquez sur le lien suivant dans les 24 heures :\nhttps://impots.example/valider/77aa\n\nLa direction générale"),
    code(Both, "Banco Sur <avisos@bancosur.example>", "Tu código de verificación",
        "Hola Anna:\n\nTu código de verificación es 390 116. Caduca en 5 minutos. No lo compartas con nadie.\n\nBanco Sur"),
    code(Page, "Viajes Sol <reservas@viajessol.example>", "Activa tu cuenta",
        "¡Hola!\nHaz clic en el botón para activar tu cuenta y ver tu reserva.\n<a href=\"https://viajessol.example/activar/31\">ACTIVAR MI CUENTA</a>"),
    code(Plain, "Poste Facili <noreply@postefacili.example>", "Il tuo codice di verifica",
        "Ciao Anna,\nil tuo codice di verifica è 664 209. Scade tra 15 minuti."),
    code(Shop, "Negozio Verde <ciao@negozioverde.example>", "Conferma il tuo indirizzo email",
        "Benvenuta!\nConferma il tuo indirizzo email per completare la registrazione e ricevere il 15% di sconto.\nCONFERMA"),
    code(Plain, "Mijn Gemeente <noreply@gemeente.example>", "Uw verificatiecode",
        "Uw verificatiecode is 118 930. Deze code is 10 minuten geldig."),
    code(Page, "Fietsenwinkel <klantenservice@fietsen.example>", "Bevestig je e-mailadres",
        "Hoi Anna, leuk dat je er bent! <a href=\"https://fietsen.example/b/7\">Bevestig je e-mailadres</a> en je account is klaar."),
    code(Plain, "Bank Polski Wschód <nie-odpowiadaj@bpw.example>", "Kod weryfikacyjny",
        "Twój kod weryfikacyjny: 740 551. Kod jest ważny przez 5 minut. Nie podawaj go nikomu."),
    code(Shop, "Księgarnia <sklep@ksiegarnia.example>", "Potwierdź swój adres e-mail",
        "Dziękujemy za rejestrację! Kliknij, aby potwierdzić adres e-mail i odebrać darmową dostawę.\nPOTWIERDZAM"),
    code(Both, "Lojas Mar <nao-responda@lojasmar.example>", "Seu código de acesso: 551208",
        "Olá, Anna!\nSeu código de acesso é 551208. Se você não pediu este código, ignore este e-mail."),
    code(Plain, "Biblioteket <svara-inte@biblioteket.example>", "Din engångskod",
        "Hej! Din engångskod är 229 417. Den gäller i 10 minuter."),
    code(Plain, "Borgerservice <noreply@borger.example>", "Bekræft din e-mailadresse",
        "Hej Anna\nBekræft din e-mailadresse ved at klikke på linket: https://borger.example/bekraeft/8a"),
    code(Page, "Kirjakauppa <asiakaspalvelu@kirjakauppa.example>", "Vahvistuskoodisi on 883 106",
        "<b>883 106</b>\nSyötä koodi kirjautuaksesi sisään. Koodi on voimassa 10 minuuttia."),
    code(Plain, "Obec <podatelna@obec.example>", "Ověřovací kód",
        "Dobrý den,\nváš ověřovací kód je 470 922. Platí 15 minut."),
    code(Shop, "Çiçek Sepeti <bilgi@cicek.example>", "Doğrulama kodunuz: 914 220",
        "Merhaba Anna,\nDoğrulama kodunuz 914 220. Bu kodu kimseyle paylaşmayın."),
    code(Plain, "Почта <noreply@pochta.example>", "Код подтверждения: 308 155",
        "Здравствуйте!\nВаш код подтверждения: 308 155. Никому его не сообщайте."),
    code(Page, "Книгарня <info@knyharnia.example>", "Підтвердьте адресу електронної пошти",
        "Вітаємо, Анно! <a href=\"https://knyharnia.example/p/5\">Підтвердити адресу</a>"),
    code(Plain, "図書館 <noreply@toshokan.example>", "認証コードのお知らせ",
        "認証コード: 662 810\nこのコードの有効期限は10分です。心当たりのない場合は、このメールを破棄してください。"),
    code(Shop, "ネットショップ花 <info@hana.example>", "会員登録を完了してください",
        "この度はご登録ありがとうございます。下のボタンをクリックして会員登録を完了してください。\n登録を完了する"),
    code(Plain, "小城商店 <service@xiaocheng.example>", "您的验证码是 771 045",
        "您好,您的验证码是 771 045,10 分钟内有效。请勿将验证码告诉他人。"),
    code(Plain, "도서관 <noreply@doseogwan.example>", "인증번호 안내",
        "안녕하세요. 인증번호는 205 518 입니다. 5분 안에 입력해 주세요."),
    code(Plain, "المكتبة <noreply@maktaba.example>", "رمز التحقق الخاص بك",
        "مرحبا، رمز التحقق الخاص بك هو 118 402. صالح لمدة 10 دقائق."),
    code(Plain, "Δήμος <noreply@dimos.example>", "Κωδικός επαλήθευσης",
        "Ο κωδικός επαλήθευσης είναι 660 731. Ισχύει για 10 λεπτά."),
    code(Both, "Könyvtár <nevalaszolj@konyvtar.example>", "Erősítsd meg az e-mail-címedet",
        "Szia Anna!\nKattints ide, és erősítsd meg az e-mail-címedet: https://konyvtar.example/m/12"),
    code(Plain, "Primăria <noreply@primaria.example>", "Codul dumneavoastră de verificare",
        "Bună ziua,\ncodul dumneavoastră de verificare este 913 640 și expiră în 10 minute."),
    code(Page, "Smart Meter <noreply@notify.meterhub.example>", "Action required: verify your email address",
        "ACTION REQUIRED\nVerify your email address within 24 hours or your account will be closed. <a href=\"http://go.meterhub.example:8080/v?id=18\">Verify now</a>"),
    code(Plain, "root@nas.house.example", "Code",
        "104882"),
];
