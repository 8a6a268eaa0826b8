//! The box's light and display as a PNG picture, for the demo page, the guide and tests.
//!
//! Four colours need two bits a pixel, so a picture of the whole front weighs about a kilobyte.

use miniz_oxide::deflate::compress_to_vec_zlib;

use crate::canvas::{Canvas, HEIGHT, WIDTH};

/// A bare page, enlarged: each pixel becomes a square of `scale` (at least 1).
pub fn page(canvas: &Canvas, scale: usize) -> Vec<u8> {
    let scale = scale.max(1);
    encode(WIDTH * scale, HEIGHT * scale, |x, y| {
        if canvas.is_lit(x / scale, y / scale) { Ink::Lit } else { Ink::Glass }
    })
}

/// The front of a box: the display in its frame and the lamp beside it, on or off.
/// [`FRONT_WIDTH`] × [`FRONT_HEIGHT`] pixels.
pub fn front(canvas: &Canvas, lamp: bool) -> Vec<u8> {
    encode(FRONT_WIDTH, FRONT_HEIGHT, |x, y| {
        if let Some(ink) = display_at(canvas, x, y) {
            return ink;
        }
        match distance_squared((x, y), LAMP) {
            near if near > LAMP_RADIUS * LAMP_RADIUS => Ink::Case,
            // A dark rim keeps the lamp visible on the case, lit or not.
            near if near > (LAMP_RADIUS - 3) * (LAMP_RADIUS - 3) => Ink::Glass,
            _ if lamp => Ink::Lit,
            _ => Ink::Glass,
        }
    })
}

/// Pixels from left to right in [`front`].
pub const FRONT_WIDTH: usize = 2 * FRAME + 3 * WIDTH + 64;
/// Pixels from top to bottom in [`front`].
pub const FRONT_HEIGHT: usize = 2 * FRAME + 3 * HEIGHT;
/// The middle of the lamp in [`front`], for pages that let it blink by themselves.
pub const LAMP: (usize, usize) = (FRAME + 3 * WIDTH + 40, FRONT_HEIGHT / 2);
/// The lamp's radius in [`front`].
pub const LAMP_RADIUS: usize = 14;

const FRAME: usize = 24;
/// Glass that shows no pixels, around those of the display.
const RIM: usize = 8;

fn display_at(canvas: &Canvas, x: usize, y: usize) -> Option<Ink> {
    let inside =
        |at: usize, length: usize| at.checked_sub(FRAME - RIM).filter(|at| *at < length + 2 * RIM);
    let (x, y) = (inside(x, 3 * WIDTH)?, inside(y, 3 * HEIGHT)?);
    let lit =
        |x: usize, y: usize| Some(canvas.is_lit(x.checked_sub(RIM)? / 3, y.checked_sub(RIM)? / 3));
    Some(if lit(x, y) == Some(true) { Ink::Lit } else { Ink::Glass })
}

fn distance_squared(a: (usize, usize), b: (usize, usize)) -> usize {
    a.0.abs_diff(b.0).pow(2) + a.1.abs_diff(b.1).pow(2)
}

/// The colours, by their place in the palette. Light against dark, never red against green.
#[derive(Clone, Copy)]
enum Ink {
    Glass = 0,
    Lit = 1,
    Case = 2,
}

const PALETTE: [u8; 9] = [0x10, 0x14, 0x18, 0xe8, 0xf4, 0xff, 0x6b, 0x72, 0x80];

/// PNG (RFC 2083) with a palette and two bits a pixel.
fn encode(width: usize, height: usize, ink: impl Fn(usize, usize) -> Ink) -> Vec<u8> {
    let mut rows = Vec::with_capacity(height * (1 + width.div_ceil(4)));
    for y in 0..height {
        rows.push(0); // filter: none
        for x in (0..width).step_by(4) {
            let bits = |i: usize| {
                if x + i < width { ink(x + i, y) as u8 } else { 0 }
            };
            rows.push(bits(0) << 6 | bits(1) << 4 | bits(2) << 2 | bits(3));
        }
    }
    let side = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes();
    let mut header = Vec::with_capacity(13);
    header.extend(side(width));
    header.extend(side(height));
    header.extend([2, 3, 0, 0, 0]); // depth, palette, deflate, filters, not interlaced

    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut png, *b"IHDR", &header);
    chunk(&mut png, *b"PLTE", &PALETTE);
    chunk(&mut png, *b"IDAT", &compress_to_vec_zlib(&rows, 9));
    chunk(&mut png, *b"IEND", &[]);
    png
}

fn chunk(png: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    png.extend(length.to_be_bytes());
    png.extend(kind);
    png.extend(data);
    png.extend(crc(kind.iter().chain(data)).to_be_bytes());
}

/// RFC 2083 §15, bit by bit: pictures are small and rare.
fn crc<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}
