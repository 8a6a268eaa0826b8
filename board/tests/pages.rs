//! The pages as people see them: kept as text pictures in `tests/golden/`.
//!
//! After a wanted change run with `UPDATE_GOLDEN=1`, look at the pictures, and commit them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::Path;

use board::canvas::{Canvas, HEIGHT, WIDTH};
use board::layout::{Page, pages, picture};
use board::png::{FRONT_HEIGHT, FRONT_WIDTH, LAMP, front, page as page_png};
use board::{Area, Concern, Concerns, Progress, State, Status};
use qrcodegen::{QrCode, QrCodeEcc};

/// Every page worth looking at, by the name of its golden file.
fn gallery() -> Vec<(&'static str, Page, Status)> {
    let home = |state| Status {
        name: "mail.example.org".into(),
        address: Some("http://192.168.1.23".into()),
        ..Status::new(state)
    };
    let ready = Status {
        lines: vec!["2 accounts".into(), "12 received today".into()],
        ..home(State::Ready)
    };
    let setup = Status {
        name: "pillarbox".into(),
        address: Some("http://192.168.178.123".into()),
        qr: Some("http://192.168.178.123".into()),
        claim_code: Some("4711 0815".into()),
        ..Status::new(State::SetupWaiting)
    };
    let long_setup = Status {
        address: Some("http://[2001:db8:1234:5678:9abc:def0:1234:5678]".into()),
        qr: Some("http://[2001:db8:1234:5678:9abc:def0:1234:5678]".into()),
        ..setup.clone()
    };
    let concern = |area, advice: &str| Concern { area, advice: advice.into() };
    let concerns = Concerns::new([
        concern(Area::ReverseDns, "Ask your provider to set the name mail.example.org."),
        concern(
            Area::Authentication,
            "The DKIM record is missing. Copy it from the page named DNS records to your \
             provider, then wait an hour.",
        ),
    ])
    .unwrap();
    let backup = Status {
        progress: Some(Progress::percent(62)),
        lines: vec!["Installing 1.4.0".into()],
        ..home(State::DoNotUnplug)
    };
    vec![
        ("ready", Page::Overview, ready),
        ("starting", Page::Overview, Status::new(State::Starting)),
        ("time", Page::Overview, home(State::WaitingForTime)),
        ("unknown", Page::Overview, home(State::Unknown)),
        ("stopped", Page::Overview, Status::new(State::Stopped)),
        ("setup", Page::Setup, setup.clone()),
        ("setup-ipv6", Page::Setup, long_setup.clone()),
        ("qr", Page::Qr, setup),
        ("qr-ipv6", Page::Qr, long_setup),
        ("attention", Page::Concern(0), home(State::Attention(concerns.clone()))),
        ("broken", Page::Concern(1), home(State::Broken(concerns))),
        ("unplug", Page::Overview, backup),
    ]
}

#[test]
fn pages_look_as_approved() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for (name, page, status) in gallery() {
        let drawn = picture(page, &status).to_string();
        let path = folder.join(format!("{name}.txt"));
        if update {
            fs::write(&path, &drawn).unwrap();
        }
        let golden = fs::read_to_string(&path).unwrap_or_default();
        assert!(golden == drawn, "{name} changed; it was\n{golden}\nand now is\n{drawn}");
    }
}

#[test]
fn every_status_has_a_page_and_concerns_come_first() {
    for (name, page, status) in gallery() {
        assert!(pages(&status).contains(&page), "{name}");
    }
    let (_, _, broken) = gallery().into_iter().find(|(name, ..)| *name == "broken").unwrap();
    assert_eq!(pages(&broken), [Page::Concern(0), Page::Concern(1), Page::Overview]);
}

#[test]
fn a_page_without_its_content_becomes_the_overview() {
    let status = Status::new(State::Ready);
    let overview = picture(Page::Overview, &status);
    assert_eq!(picture(Page::Concern(3), &status), overview);
    assert_eq!(picture(Page::Qr, &status), overview);
    let endless = Status { qr: Some("x".repeat(4000)), ..status };
    assert_eq!(pages(&endless), [Page::Overview]);
    assert_eq!(picture(Page::Qr, &endless), overview);
}

/// Compares the drawn code with the library's, module by module, its quiet zone included.
fn assert_code(canvas: &Canvas, text: &str, scale: usize) {
    let code = QrCode::encode_text(text, QrCodeEcc::Low).unwrap();
    let modules = usize::try_from(code.size()).unwrap();
    let side = (modules + 8) * scale;
    assert!(side <= HEIGHT, "the quiet zone fits as well");
    let top = (HEIGHT - side) / 2;
    for y in 0..side {
        for x in 0..side {
            let module = |n: usize| i32::try_from(n / scale).unwrap() - 4;
            let dark = code.get_module(module(x), module(y));
            assert_eq!(canvas.is_lit(x, top + y), !dark, "module at {x},{y}");
        }
    }
}

#[test]
fn the_code_is_dark_on_lit_ground_with_its_quiet_zone() {
    let find = |wanted| gallery().into_iter().find(|(name, ..)| *name == wanted).unwrap();
    let (_, page, status) = find("qr");
    assert_code(&picture(page, &status), "HTTP://192.168.178.123", 2);
    let (_, page, status) = find("qr-ipv6");
    let text = "HTTP://[2001:DB8:1234:5678:9ABC:DEF0:1234:5678]";
    assert_code(&picture(page, &status), text, 1);
}

/// Width, height, and the palette index of each pixel.
fn decode(bytes: &[u8]) -> (usize, usize, Vec<u8>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
    let mut packed = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut packed).unwrap();
    let (width, height) = (info.width as usize, info.height as usize);
    let index = |i: usize| {
        let (x, y) = (i % width, i / width);
        packed[y * info.line_size + x / 4] >> (6 - x % 4 * 2) & 3
    };
    (width, height, (0..width * height).map(index).collect())
}

#[test]
fn the_png_is_the_page() {
    for (name, page, status) in gallery() {
        let canvas = picture(page, &status);
        let (width, height, pixels) = decode(&page_png(&canvas, 3));
        assert_eq!((width, height), (3 * WIDTH, 3 * HEIGHT));
        for (i, pixel) in pixels.iter().enumerate() {
            let lit = canvas.is_lit(i % width / 3, i / width / 3);
            assert_eq!(*pixel == 1, lit, "{name}, pixel {i}");
        }
    }
}

#[test]
fn the_front_shows_page_and_lamp() {
    let (_, page, status) = gallery().into_iter().next().unwrap();
    let canvas = picture(page, &status);
    let (on, off) = (front(&canvas, true), front(&canvas, false));
    assert!(on.len() < 4096, "{} bytes", on.len());
    let ((width, height, on), (_, _, off)) = (decode(&on), decode(&off));
    assert_eq!((width, height), (FRONT_WIDTH, FRONT_HEIGHT));
    let (x, y) = LAMP;
    assert_eq!((on[y * width + x], off[y * width + x]), (1, 0));
    // All that is lit without the lamp is the page.
    let lit = (0..WIDTH * HEIGHT).filter(|i| canvas.is_lit(i % WIDTH, i / WIDTH)).count();
    assert_eq!(off.into_iter().filter(|pixel| *pixel == 1).count(), 9 * lit);
}
