//! What goes wrong at the door and on the command line: a clear word each time, and nothing lost.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

#[test]
fn a_second_run_on_the_same_folder_is_refused() {
    let post = PostOffice::start();
    let second = pillarbox(&["run", "--board", "none", "--data", post.data()]);
    assert_eq!(second.status.code(), Some(1));
    let said = text(&second.stderr);
    assert!(said.contains("another pillarbox") && said.contains("is using"), "{said}");
    // The first one is still there.
    assert!(post.smtp().hello().starts_with("220 "));
}

#[test]
fn commands_reach_the_running_box_and_the_closed_folder_alike() {
    let post = PostOffice::start();
    let add = ["account", "add", "bob@home.test", "--password-stdin", "--data", post.data()];
    let added = pillarbox_with(&add, "a long password\n");
    assert!(added.status.success(), "{}", text(&added.stderr));
    let again = pillarbox_with(&add, "a long password\n");
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("bob@home.test exists already"));
    let running = pillarbox(&["account", "list", "--json", "--data", post.data()]);
    let folder = post.stop();
    let closed = pillarbox(&["account", "list", "--json", "--data", &folder.display().to_string()]);
    assert_eq!(text(&running.stdout), text(&closed.stdout));
    assert!(text(&closed.stdout).contains("bob@home.test"));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_configuration_with_a_gap_names_the_gap() {
    let folder = tempfile::tempdir().unwrap();
    let answers = folder.path().join("answers.toml");
    let cases = [
        ("[domain]\nname = \"home.test\"\n", "[owner] address"),
        ("[owner]\naddress = \"alice@home.test\"\npassword = \"long enough\"\n", "[domain] name"),
        (
            "[domain]\nname = \"home.test\"\n[owner]\naddress = \"alice@home.test\"\n",
            "[owner] password",
        ),
        ("[domain]\nname = \"home.test\"\n[owner]\naddress = \"alice\"\n", "the @ is missing"),
        ("[domain]\nnmae = \"home.test\"\n", "nmae"),
        ("[domain\n", "line 1"),
        ("", "[domain] name"),
    ];
    for (toml, expected) in cases {
        fs::write(&answers, toml).unwrap();
        let data = folder.path().join("data").display().to_string();
        let result =
            pillarbox(&["setup", "--data", &data, "--answers", &answers.display().to_string()]);
        let said = text(&result.stderr);
        assert_eq!(result.status.code(), Some(1), "{toml:?}: {said}");
        assert!(said.contains(expected), "{toml:?} should name {expected:?}: {said}");
        assert_eq!(said.lines().count(), 1, "one line, please: {said}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    let missing = pillarbox(&["setup", "--data", &data, "--answers", "/nowhere/answers.toml"]);
    assert!(text(&missing.stderr).contains("/nowhere/answers.toml"));
    let config = pillarbox(&["run", "--data", &data, "--config", "/nowhere/else.toml"]);
    assert_eq!(config.status.code(), Some(1));
    assert!(text(&config.stderr).contains("/nowhere/else.toml"), "{}", text(&config.stderr));
    // A folder where the configuration should be.
    fs::create_dir(folder.path().join("pillarbox.toml")).unwrap();
    let run = pillarbox(&["run", "--data", &data, "--board", "none"]);
    assert_eq!(run.status.code(), Some(1));
    assert!(text(&run.stderr).contains("pillarbox.toml"), "{}", text(&run.stderr));
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = format!("[listen]\nhttp = [\"{}\"]\nhttps = []\n", taken.local_addr().unwrap());
    fs::write(folder.path().join("pillarbox.toml"), config).unwrap();
    let run =
        pillarbox(&["run", "--board", "none", "--data", &folder.path().display().to_string()]);
    assert_eq!(run.status.code(), Some(1));
    assert!(text(&run.stderr).contains("another program has the port"), "{}", text(&run.stderr));
}

#[test]
fn ready_is_told_once_the_ports_are_bound_and_never_when_one_is_taken() {
    let post = PostOffice::start();
    let ports = post.ports;
    let folder = post.stop();
    let manager = Manager::listen(&folder);
    let taken = TcpListener::bind(local(ports[1])).unwrap();
    let mut refused = manager.spawn(&folder);
    assert_eq!(refused.wait().unwrap().code(), Some(1));
    assert_eq!(manager.heard(), ["STOPPING=1"]);
    drop(taken);

    let mut running = manager.spawn(&folder);
    assert_eq!(manager.next(), "READY=1");
    for port in ports {
        TcpStream::connect(local(port)).unwrap();
    }
    // A sign of life three times within the watchdog's second.
    for _ in 0..3 {
        assert_eq!(manager.next(), "WATCHDOG=1");
    }
    running.kill().unwrap();
    running.wait().unwrap();
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_box_that_is_set_up_anew_is_back_on_its_ports_at_once() {
    let post = PostOffice::start();
    // Somebody is connected on each port, and stays.
    let mut open = [post.smtp(), post.imap(), post.pop3()];
    let answers = post.folder.join("answers");
    let name = |domain: &str| format!("mail.{domain}.test");
    let changed = fs::read_to_string(&answers).unwrap().replace(&name("home"), &name("new"));
    fs::write(&answers, changed).unwrap();
    let answers = answers.display().to_string();
    let made = pillarbox(&["setup", "--data", post.data(), "--answers", &answers]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let end = Instant::now() + Duration::from_secs(8);
    loop {
        let stream = TcpStream::connect(local(post.ports[0])).ok();
        let mut greeting = String::new();
        if let Some(stream) = stream {
            // One that is closing may still take us in.
            let _ = BufReader::new(stream).read_line(&mut greeting);
        }
        if greeting.contains("mail.new.test") {
            break;
        }
        assert!(Instant::now() < end, "not back: {greeting:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    post.wait();
    let [smtp, imap, _] = &mut open;
    assert!(smtp.hello().contains("mail.home.test"));
    assert!(smtp.hello().starts_with("421 "));
    assert!(imap.hello().starts_with("* OK") && imap.hello().starts_with("* BYE"));
}

#[test]
fn the_index_is_made_anew_from_the_mail_but_not_below_a_running_box() {
    let post = PostOffice::start();
    let busy = pillarbox(&["store", "rebuild", "--data", post.data()]);
    assert!(text(&busy.stderr).contains("is using"), "{}", text(&busy.stderr));
    let before = pillarbox(&["account", "list", "--data", post.data()]);
    let folder = post.stop();
    let data = folder.display().to_string();
    fs::write(folder.join("index.redb"), "not an index").unwrap();
    let rebuilt = pillarbox(&["store", "rebuild", "--json", "--data", &data]);
    assert!(rebuilt.status.success(), "{}", text(&rebuilt.stderr));
    assert!(text(&rebuilt.stdout).contains("\"damaged_records\": 0"));
    let after = pillarbox(&["account", "list", "--data", &data]);
    assert_eq!(text(&before.stdout), text(&after.stdout));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_slip_in_the_folders_name_makes_no_post_office() {
    let folder = tempfile::tempdir().unwrap();
    let slip = folder.path().join("pilarbox");
    let listed = pillarbox(&["account", "list", "--data", &slip.display().to_string()]);
    assert_eq!(listed.status.code(), Some(1));
    assert!(text(&listed.stderr).contains("no post office in"), "{}", text(&listed.stderr));
    assert!(!slip.exists());
}

#[test]
fn a_certificate_that_cannot_be_used_is_refused_while_there_is_another() {
    let post = PostOffice::start();
    let answers = post.folder.join("answers");
    let with_files = fs::read_to_string(&answers).unwrap()
        + "[tls]\nmode = \"files\"\ncertificate = \"/nowhere/c.pem\"\nkey = \"/nowhere/k.pem\"\n";
    fs::write(&answers, with_files).unwrap();
    let answers = answers.display().to_string();
    let refused = pillarbox(&["setup", "--data", post.data(), "--answers", &answers]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("/nowhere/c.pem"), "{}", text(&refused.stderr));
    let post = post.kill_and_restart();
    assert!(post.smtp().hello().starts_with("220 "));
}

#[test]
fn usage_errors_are_not_taken_for_a_check_result() {
    let wrong = pillarbox(&["check", "--no-such-option"]);
    assert_eq!(wrong.status.code(), Some(64));
    for command in ["run", "setup", "check", "dns", "account", "queue", "store", "export", "import"]
    {
        let help = pillarbox(&[command, "--help"]);
        assert!(help.status.success());
        assert!(text(&help.stdout).contains("Example"), "{command} --help shows no example");
    }
}

#[test]
fn a_box_that_is_not_set_up_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    let dns = pillarbox(&["dns", "--data", &data]);
    assert_eq!(dns.status.code(), Some(1));
    assert!(text(&dns.stderr).contains("not set up yet"), "{}", text(&dns.stderr));
    let check = pillarbox(&["check", "--data", &data]);
    assert_eq!(check.status.code(), Some(3), "not ready is not broken: {}", text(&check.stderr));
}

#[test]
fn strangers_are_answered_clearly_whatever_they_say() {
    let post = PostOffice::start();
    let mut smtp = post.smtp();
    smtp.hello();
    assert!(smtp.say("EHLO stranger.test").starts_with("250"));
    assert!(smtp.say("FROBNICATE").starts_with("500 5.5."));
    assert!(smtp.say("DATA").starts_with("503 5.5.1"));
    assert!(smtp.say("MAIL FROM:<a@stranger.test>").starts_with("250"));
    assert!(smtp.say("RCPT TO:<victim@elsewhere.test>").starts_with("550 5.7.1"));
    assert!(smtp.say("RCPT TO:<nobody@home.test>").starts_with("550 5.1.1"));
    // A line of 1 MB, and the connection lives on.
    assert!(smtp.say(&"x".repeat(1 << 20)).starts_with("500 5.5."));
    assert!(smtp.say("NOOP").starts_with("250"));
    assert!(post.memory_kib() < 64 * 1024, "{} KiB", post.memory_kib());

    let mut imap = post.imap();
    imap.hello();
    assert!(imap.say("a FROBNICATE").starts_with("a BAD"));
    assert!(imap.say("b LOGIN alice@home.test secret").starts_with("b NO [PRIVACYREQUIRED]"));
    assert!(imap.say(&format!("c {}", "x".repeat(1 << 20))).contains("BAD"));
    assert!(imap.say("d NOOP").starts_with("d OK"));

    let mut pop3 = post.pop3();
    pop3.hello();
    assert!(pop3.say("FROB").starts_with("-ERR"));
    assert!(pop3.say("USER alice@home.test").starts_with("-ERR"));
    assert!(pop3.say(&"x".repeat(1 << 20)).starts_with("-ERR"));
    assert!(pop3.say("QUIT").starts_with("+OK"));
}

#[test]
fn a_killed_box_has_every_message_it_acknowledged() {
    let mut post = PostOffice::start();
    let mut acknowledged = 0;
    for round in 0..3 {
        let mut smtp = post.smtp();
        smtp.hello();
        smtp.say("EHLO stranger.test");
        for number in 0..20 {
            smtp.say("MAIL FROM:<a@stranger.test>");
            smtp.say("RCPT TO:<alice@home.test>");
            smtp.say("DATA");
            let said = smtp.say(&format!("Subject: {round}-{number}\r\n\r\nbody\r\n."));
            assert!(said.starts_with("250"), "{said}");
            acknowledged += 1;
        }
        // One more is under way when the power goes.
        smtp.say("MAIL FROM:<a@stranger.test>");
        smtp.say("RCPT TO:<alice@home.test>");
        smtp.say("DATA");
        smtp.send("Subject: lost\r\n\r\nhalf a mess");
        post = post.kill_and_restart();
    }
    let stats = pillarbox(&["store", "stats", "--json", "--data", post.data()]);
    let stats: serde_json::Value = serde_json::from_slice(&stats.stdout).unwrap();
    assert_eq!(stats["messages"], acknowledged);
    let verify = pillarbox(&["store", "verify", "--data", post.data()]);
    assert!(verify.status.success(), "{}", text(&verify.stderr));
}

#[test]
fn the_store_answers_in_plain_words() {
    let post = PostOffice::start();
    let store = |command: &str, data: &str| pillarbox(&["store", command, "--data", data]);
    let stats = text(&store("stats", post.data()).stdout);
    let names: Vec<&str> =
        stats.lines().take(3).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["accounts", "mailboxes", "messages"]);
    assert!(!stats.contains('"') && stats.contains("0 of 0"), "{stats}");
    assert_eq!(text(&store("compact", post.data()).stdout), "Nothing to give back.\n");
    assert!(text(&store("verify", post.data()).stdout).contains(" in 1 segment were read"));
    let refused = store("rebuild", post.data());
    assert!(!refused.status.success() && text(&refused.stderr).contains("is using"));

    let data = post.data().to_owned();
    let folder = post.stop();
    let mail = folder.join("letter.eml");
    fs::write(&mail, "Subject: one\n\ntext\n").unwrap();
    let mail = mail.display().to_string();
    assert!(pillarbox(&["import", "alice@home.test", &mail, "--data", &data]).status.success());
    let stats = text(&store("stats", &data).stdout);
    assert!(stats.contains("0 of 1"), "nothing was indexed, the box was stopped: {stats}");
    let made = text(&store("rebuild", &data).stdout);
    assert!(made.starts_with("The index was made anew: 1 message in "), "{made}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn nobody_else_can_read_a_file_of_the_box() {
    use std::os::unix::fs::PermissionsExt;
    let post = PostOffice::start();
    let mail = post.folder.join("letter.eml");
    fs::write(&mail, "Subject: private\n\nfor alice alone\n").unwrap();
    let mail_name = mail.display().to_string();
    let import = ["import", "alice@home.test", &mail_name, "--data", post.data()];
    assert!(pillarbox(&import).status.success());
    // As an earlier release left it.
    let post = post.stop_and_harm(|folder| {
        fs::set_permissions(folder.join("search.redb"), PermissionsExt::from_mode(0o644)).unwrap();
    });
    let ours = ["log", "answers", "letter.eml"].map(|name| post.folder.join(name));
    let (mut folders, mut files) = (vec![post.folder.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let found = fs::symlink_metadata(&path).unwrap();
            if found.is_dir() {
                folders.push(path);
            } else if !ours.contains(&path) {
                assert_eq!(found.permissions().mode() & 0o077, 0, "{}", path.display());
                files.push(path.file_name().unwrap().to_owned());
            }
        }
    }
    for name in ["00000001.seg", "index.redb", "search.redb", "control.sock", "key.pem"] {
        assert!(files.iter().any(|file| file == name), "{name} is not among {files:?}");
    }
}

/// A name server that knows no name, for all boxes of this run: one that is silent makes mail wait.
fn empty_dns() -> SocketAddr {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut message = [0; 512];
            while let Ok((size, asker)) = socket.recv_from(&mut message) {
                // The question comes back as a response with NXDOMAIN (RFC 1035 §4.1.1).
                message[2] |= 0x80;
                message[3] = 0x83;
                socket.send_to(&message[..size], asker).unwrap();
            }
        });
        address
    })
}

/// A running box on ports of its own.
pub(crate) struct PostOffice {
    process: Child,
    folder: PathBuf,
    name: String,
    ports: [u16; 4],
}

impl PostOffice {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let answers = folder.join("answers");
        let ports = free_ports();
        let [smtp, imap, pop3, submission] = ports;
        let dns = empty_dns();
        fs::write(
            &answers,
            format!(
                "[box]\nhostname = \"mail.home.test\"\n[domain]\nname = \"home.test\"\n\
                 [owner]\naddress = \"alice@home.test\"\npassword = \"long enough\"\n\
                 [dns]\nservers = [\"{dns}\"]\n[listen]\nsmtp = [\"127.0.0.1:{smtp}\"]\n\
                 imap = [\"127.0.0.1:{imap}\"]\npop3 = [\"127.0.0.1:{pop3}\"]\n\
                 submission = [\"127.0.0.1:{submission}\"]\n\
                 submissions = []\nimaps = []\npop3s = []\nhttp = []\nhttps = []\n"
            ),
        )
        .unwrap();
        let name = folder.display().to_string();
        let made =
            pillarbox(&["setup", "--data", &name, "--answers", &answers.display().to_string()]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        let post = Self { process: spawn(&folder), name, folder, ports };
        post.wait();
        post
    }

    pub(crate) fn kill_and_restart(mut self) -> Self {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = spawn(&self.folder);
        self.wait();
        self
    }

    /// Stops it as a service manager would; the folder stays.
    pub(crate) fn stop(mut self) -> PathBuf {
        let id = nix::unistd::Pid::from_raw(self.process.id().try_into().unwrap());
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert!(self.process.wait().unwrap().success());
        std::mem::take(&mut self.folder)
    }

    pub(crate) fn stop_and_restart(self) -> Self {
        self.stop_and_harm(|_| ())
    }

    /// Something happens to its folder before it runs again.
    pub(crate) fn stop_and_harm(self, harm: impl FnOnce(&Path)) -> Self {
        let (name, ports) = (self.name.clone(), self.ports);
        let folder = self.stop();
        harm(&folder);
        let post = Self { process: spawn(&folder), folder, name, ports };
        post.wait();
        post
    }

    fn wait(&self) {
        let end = Instant::now() + Duration::from_secs(30);
        while self.ports.iter().any(|port| TcpStream::connect(local(*port)).is_err()) {
            assert!(Instant::now() < end, "the box does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn data(&self) -> &str {
        &self.name
    }

    pub(crate) fn imap_port(&self) -> u16 {
        self.ports[1]
    }

    pub(crate) fn pop3_port(&self) -> u16 {
        self.ports[2]
    }

    pub(crate) fn smtp(&self) -> Dialogue {
        Dialogue::open(self.ports[0])
    }

    pub(crate) fn imap(&self) -> Dialogue {
        Dialogue::open(self.ports[1])
    }

    pub(crate) fn pop3(&self) -> Dialogue {
        Dialogue::open(self.ports[2])
    }

    pub(crate) fn submission(&self) -> Dialogue {
        Dialogue::open(self.ports[3])
    }

    pub(crate) fn memory_kib(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most there ever was.
    pub(crate) fn peak_kib(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for PostOffice {
    fn drop(&mut self) {
        // Only a failed test leaves it running; there is nothing to do about an error here.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if !self.folder.as_os_str().is_empty() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// The service manager's end: what it is told.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn listen(folder: &Path) -> Self {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { socket, path }
    }

    fn spawn(&self, folder: &Path) -> Child {
        let mut command = run_command(folder);
        command.env("NOTIFY_SOCKET", &self.path).env("WATCHDOG_USEC", "1000000");
        command.spawn().unwrap()
    }

    fn next(&self) -> String {
        let mut told = [0; 256];
        let length = self.socket.recv(&mut told).unwrap();
        text(&told[..length]).trim_end().to_owned()
    }

    /// All that was said until now.
    fn heard(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).unwrap();
        let mut heard = Vec::new();
        let mut told = [0; 256];
        while let Ok(length) = self.socket.recv(&mut told) {
            heard.push(text(&told[..length]).trim_end().to_owned());
        }
        self.socket.set_nonblocking(false).unwrap();
        heard
    }
}

/// A conversation in the clear.
pub(crate) struct Dialogue {
    stream: BufReader<TcpStream>,
}

impl Dialogue {
    fn open(port: u16) -> Self {
        let stream = TcpStream::connect(local(port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    pub(crate) fn hello(&mut self) -> String {
        self.reply()
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn say(&mut self, line: &str) -> String {
        self.send(&format!("{line}\r\n"));
        self.reply()
    }

    /// The last line of a reply; `250-` lines and untagged IMAP lines are passed over.
    pub(crate) fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            assert!(!line.is_empty(), "the connection was closed");
            let more = line.as_bytes().get(3) == Some(&b'-') || line.starts_with("* CAP");
            if !more {
                return line.trim_end().to_owned();
            }
        }
    }
}

pub(crate) fn pillarbox(args: &[&str]) -> Output {
    pillarbox_with(args, "")
}

fn pillarbox_with(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pillarbox"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn spawn(folder: &Path) -> Child {
    run_command(folder).spawn().unwrap()
}

fn run_command(folder: &Path) -> Command {
    let log = fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pillarbox"));
    command
        .args(["run", "--board", "none", "--data"])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    command
}

fn free_ports() -> [u16; 4] {
    let taken = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    taken.map(|listener| listener.local_addr().unwrap().port())
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
