//! Against this module's own other end, and against bytes of other makers.

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;

/// Commands as another library compressed them, each flushed in part (`Z_PARTIAL_FLUSH`): most end
/// in the middle of a byte.
const PARTIAL: [(&str, &str); 5] = [
    ("a NOOP\r\n", "4a54f0f3f70fe0e50208"),
    ("b SELECT INBOX\r\n", "a0248560571f57e710054f3f27ff085e2e8000"),
    ("c UID FETCH 1:* (FLAGS)\r\n", "4a5608f5745170730d71f65030b4d252d070f371740fd6e4e50208"),
    ("d IDLE\r\n", "a014054f171f575e2e8000"),
    ("DONE\r\n", "72f1f703920001"),
];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn pair(compressors: usize) -> (Deflated<DuplexStream>, Deflated<DuplexStream>) {
    let (one, other) = tokio::io::duplex(64 << 10);
    let new = |stream| Deflated::new(stream, b"", Compressors::new(compressors));
    (new(one), new(other))
}

#[tokio::test]
async fn what_was_flushed_in_part_is_read_at_once() {
    for piece in [1, 3, 100] {
        let (mut peer, carrier) = tokio::io::duplex(1 << 10);
        let mut stream = Deflated::new(carrier, b"", Compressors::new(1));
        for (line, hex) in PARTIAL {
            for part in bytes(hex).chunks(piece) {
                peer.write_all(part).await.unwrap();
            }
            let mut read = vec![0; line.len()];
            // Nothing more comes before this is answered.
            let whole = stream.read_exact(&mut read);
            tokio::time::timeout(std::time::Duration::from_secs(5), whole).await.unwrap().unwrap();
            assert_eq!(read, line.as_bytes());
        }
    }
}

#[tokio::test]
async fn each_flush_can_be_read_whether_there_is_a_compressor_or_not() {
    for compressors in [1, 0] {
        let (mut one, mut other) = pair(compressors);
        for round in 0..50_u32 {
            let line = format!("* {round} FETCH (FLAGS (\\Seen) UID {round})\r\n").repeat(20);
            one.write_all(line.as_bytes()).await.unwrap();
            one.flush().await.unwrap();
            let mut read = vec![0; line.len()];
            other.read_exact(&mut read).await.unwrap();
            assert_eq!(read, line.as_bytes());
            if round % 7 == 0 {
                one.rest();
                other.rest();
                assert!(one.outgoing.packer.is_none() && other.incoming.waiting.capacity() == 0);
            }
        }
        one.shutdown().await.unwrap();
        drop(one);
        assert_eq!(other.read(&mut [0; 9]).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn who_rests_leaves_the_compressor_to_another() {
    let compressors = Compressors::new(1);
    let (carrier, _far) = tokio::io::duplex(64 << 10);
    let (carrier_2, _far_2) = tokio::io::duplex(64 << 10);
    let mut one = Deflated::new(carrier, b"", compressors.clone());
    let mut two = Deflated::new(carrier_2, b"", compressors);
    one.write_all(b"x").await.unwrap();
    one.flush().await.unwrap();
    two.write_all(b"x").await.unwrap();
    assert!(one.outgoing.packer.is_some() && two.outgoing.packer.is_none());
    one.rest();
    two.flush().await.unwrap();
    two.write_all(b"y").await.unwrap();
    assert!(two.outgoing.packer.is_some());
}

#[tokio::test]
async fn a_thousandfold_stream_is_inflated_only_as_far_as_it_is_read() {
    let mut deflate = Compress::new(Compression::best(), false);
    let mut bomb = Vec::with_capacity(64 << 10);
    deflate.compress_vec(&vec![b'x'; 32 << 20], &mut bomb, FlushCompress::Sync).unwrap();
    assert!(bomb.len() < 40 << 10, "{}", bomb.len());
    let (mut peer, carrier) = tokio::io::duplex(64 << 10);
    peer.write_all(&bomb).await.unwrap();
    let mut stream = Deflated::new(carrier, b"", Compressors::new(1));
    let mut piece = [0; 1000];
    for _ in 0..20_000 {
        stream.read_exact(&mut piece).await.unwrap();
        assert!(piece.iter().all(|b| *b == b'x'));
        assert!(stream.incoming.waiting.capacity() <= READ);
    }
}

#[tokio::test]
async fn what_is_no_deflate_ends_the_connection() {
    let (mut peer, carrier) = tokio::io::duplex(1 << 10);
    peer.write_all(b"a NOOP in the clear\r\n").await.unwrap();
    let mut stream = Deflated::new(carrier, b"", Compressors::new(1));
    let mut read = Vec::new();
    let end = stream.read_to_end(&mut read).await.map_err(|error| error.kind());
    assert_eq!(end, Err(io::ErrorKind::InvalidData));
}

#[tokio::test]
async fn bytes_that_came_early_are_the_first() {
    let (line, hex) = PARTIAL[0];
    let (_peer, carrier) = tokio::io::duplex(1 << 10);
    let mut stream = Deflated::new(carrier, &bytes(hex), Compressors::new(1));
    let mut read = vec![0; line.len()];
    stream.read_exact(&mut read).await.unwrap();
    assert_eq!(read, line.as_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn everything_arrives_as_it_was_sent(
        pieces in prop::collection::vec(
            (prop::collection::vec(prop_oneof![Just(b'a'), any::<u8>()], 0..3000), any::<bool>()),
            0..12,
        ),
        compressors in 0_usize..2,
        room in 1_usize..5000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let sent: Vec<u8> = pieces.iter().flat_map(|(piece, _)| piece.clone()).collect();
        let received = runtime.block_on(async {
            let (mut one, mut other) = pair(compressors);
            let send = async move {
                for (piece, rest) in pieces {
                    one.write_all(&piece).await.unwrap();
                    if rest {
                        one.flush().await.unwrap();
                        one.rest();
                    }
                }
                one.shutdown().await.unwrap();
            };
            let receive = async move {
                let (mut all, mut buffer) = (Vec::new(), vec![0; room]);
                loop {
                    match other.read(&mut buffer).await.unwrap() {
                        0 => return all,
                        read => all.extend_from_slice(&buffer[..read]),
                    }
                }
            };
            tokio::join!(send, receive).1
        });
        prop_assert_eq!(received, sent);
    }

    #[test]
    fn no_bytes_make_it_panic_or_hang(bytes in any::<Vec<u8>>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut peer, carrier) = tokio::io::duplex(1 << 10);
            peer.write_all(&bytes).await.unwrap();
            drop(peer);
            let mut stream = Deflated::new(carrier, b"", Compressors::new(1));
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        });
    }
}
