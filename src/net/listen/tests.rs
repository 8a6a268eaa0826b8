//! Listeners on real sockets.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream as StdStream;
use std::process::{Command, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::net::{Limits, Width};

const PLENTY: Limits = Limits {
    total: 1000,
    per_network: 1000,
    width: Width::Household,
    rate: None,
    refusal: b"421 no place\r\n",
};

/// Says hello to everybody and keeps them.
async fn serve(listener: Listener, stop: CancellationToken, tasks: TaskTracker) {
    let hello = |mut stream: TcpStream, _: Peer| async move {
        let _ = stream.write_all(b"hello\n").await;
        let _ = stream.read(&mut [0]).await;
    };
    listener.run(stop, tasks, hello).await;
}

fn listen(limits: Limits) -> Listener {
    Listener::bind("127.0.0.1:0".parse().unwrap(), &Gate::new(limits)).unwrap()
}

#[tokio::test]
async fn who_finds_no_place_is_told_so() {
    let listener = listen(Limits { total: 1, ..PLENTY });
    let address = listener.local();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let served = tokio::spawn(serve(listener, stop.clone(), tasks));
    let mut first = TcpStream::connect(address).await.unwrap();
    assert_eq!(first.read_u8().await.unwrap(), b'h');
    let mut second = TcpStream::connect(address).await.unwrap();
    let mut said = String::new();
    second.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "421 no place\r\n");
    drop(first);
    stop.cancel();
    served.await.unwrap();
}

/// A process of its own has too few file descriptors: its accept loop must neither end nor eat the
/// processor, and go on when there are some again.
#[test]
fn the_accept_loop_survives_a_lack_of_file_descriptors() {
    const CHILD: &str = "PILLARBOX_TEST_FEW_FILES";
    if env::var_os(CHILD).is_some() {
        return few_files();
    }
    let name = "net::listen::tests::the_accept_loop_survives_a_lack_of_file_descriptors";
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -n 40; exec \"$0\" --exact \"$1\" --nocapture"])
        .arg(env::current_exe().unwrap())
        .arg(name)
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port = lines.find_map(|line| line.unwrap().split_once("port ").map(|it| it.1.to_owned()));
    let address: SocketAddr = port.unwrap().parse().unwrap();

    let hello = |stream: &mut StdStream| {
        let limit = Some(Duration::from_secs(5));
        stream.set_read_timeout(limit).unwrap();
        stream.read(&mut [0]).is_ok_and(|read| read == 1)
    };
    let mut crowd: Vec<StdStream> = (0..80).map(|_| StdStream::connect(address).unwrap()).collect();
    assert!(hello(crowd.first_mut().unwrap()));
    std::thread::sleep(Duration::from_millis(300));
    let before = ticks(child.id());
    std::thread::sleep(Duration::from_secs(1));
    let used = ticks(child.id()) - before;
    // Sixty connections wait in vain; a loop that spins would use all of the second: 100 ticks.
    crowd.truncate(10);
    let mut late = StdStream::connect(address).unwrap();
    let served = hello(&mut late);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(used < 25, "{used} ticks of processor time in a second");
    assert!(served, "nobody was let in when there was room again");
}

fn few_files() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = listen(PLENTY);
        println!("port {}", listener.local());
        serve(listener, CancellationToken::new(), TaskTracker::new()).await;
    });
}

/// Processor time a process has used, in hundredths of a second.
fn ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}
