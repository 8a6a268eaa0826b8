//! The pages of the 128 × 64 display: what is drawn where, for any draw target.
//!
//! Every page has a lit bar with a shape and a word on top, except the QR page, which needs all
//! the height. Rows below hold 21 characters.

use embedded_graphics::mono_font::iso_8859_1::{FONT_6X10, FONT_7X13_BOLD, FONT_10X20};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::BinaryColor;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::{Line, PrimitiveStyle, Rectangle};
use embedded_graphics::text::{Baseline, Text};

use crate::canvas::{Canvas, HEIGHT};
use crate::qr::Code;
use crate::status::{Concern, Progress, Sign, State, Status};
use crate::text::{fit, wrap};

/// One picture of the display. A status has one or more; they take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// State, name, address, lines, progress.
    Overview,
    /// Address and claim code, large.
    Setup,
    /// The QR code.
    Qr,
    /// One of the concerns, by its place in the list.
    Concern(usize),
}

/// The pages of a status in the order of their turns; never empty.
pub fn pages(status: &Status) -> Vec<Page> {
    let mut pages: Vec<Page> = (0..status.state.concerns().len()).map(Page::Concern).collect();
    if status.state == State::SetupWaiting && status.address.is_some() {
        pages.push(Page::Setup);
    } else {
        pages.push(Page::Overview);
    }
    if fitting_code(status).is_some() {
        pages.push(Page::Qr);
    }
    pages
}

/// Draws a page over the whole target. A page that the status has nothing for (a code that does
/// not fit, a concern that is gone) becomes the overview.
pub fn draw<D>(page: Page, status: &Status, target: &mut D) -> Result<(), D::Error>
where
    D: DrawTarget<Color = BinaryColor>,
{
    target.clear(BinaryColor::Off)?;
    match page {
        Page::Overview => draw_overview(status, target),
        Page::Setup => draw_setup(status, target),
        Page::Qr => match fitting_code(status) {
            Some((code, scale)) => draw_qr(&code, scale, status, target),
            None => draw_overview(status, target),
        },
        Page::Concern(index) => match status.state.concerns().get(index) {
            Some(concern) => draw_concern(concern, status, target),
            None => draw_overview(status, target),
        },
    }
}

/// A page as a picture in memory.
pub fn picture(page: Page, status: &Status) -> Canvas {
    let mut canvas = Canvas::new();
    match draw(page, status, &mut canvas) {
        Ok(()) => canvas,
        Err(never) => match never {},
    }
}

fn draw_overview<D>(status: &Status, target: &mut D) -> Result<(), D::Error>
where
    D: DrawTarget<Color = BinaryColor>,
{
    draw_heading(&status.state, target)?;
    let mut rows = wrap(&status.name, COLUMNS);
    if let Some(address) = &status.address {
        rows.extend(wrap(short(address, COLUMNS), COLUMNS));
    }
    for line in &status.lines {
        rows.extend(wrap(line, COLUMNS));
    }
    if rows.is_empty() {
        rows = wrap(status.state.sentence(), COLUMNS);
    }
    let height = if status.progress.is_some() { 3 } else { 4 };
    for (row, y) in fit(rows, COLUMNS, height).iter().zip((18..).step_by(11)) {
        write(row, Point::new(1, y), &FONT_6X10, BinaryColor::On, target)?;
    }
    match status.progress {
        Some(progress) => draw_progress(progress, target),
        None => Ok(()),
    }
}

fn draw_setup<D>(status: &Status, target: &mut D) -> Result<(), D::Error>
where
    D: DrawTarget<Color = BinaryColor>,
{
    draw_heading(&status.state, target)?;
    write("Open in a browser:", Point::new(1, 18), &FONT_6X10, BinaryColor::On, target)?;
    let address = status.address.as_deref().unwrap_or_default();
    let rows = fit(wrap(short(address, COLUMNS), COLUMNS), COLUMNS, 3);
    let mut y = 29;
    for row in &rows {
        write(row, Point::new(1, y), &FONT_6X10, BinaryColor::On, target)?;
        y += 11;
    }
    let Some(code) = &status.claim_code else {
        return Ok(());
    };
    // Large while it fits beside its label and below an address of one row.
    let code = fit(wrap(code, COLUMNS - 5), COLUMNS - 5, 1).concat();
    let (font, top) = if rows.len() <= 1 && code.chars().count() <= 9 {
        (&FONT_10X20, 43)
    } else {
        (&FONT_6X10, 52)
    };
    write("Code", Point::new(1, 52), &FONT_6X10, BinaryColor::On, target)?;
    write(&code, Point::new(32, top), font, BinaryColor::On, target)
}

fn draw_qr<D>(code: &Code, scale: u32, status: &Status, target: &mut D) -> Result<(), D::Error>
where
    D: DrawTarget<Color = BinaryColor>,
{
    let side = u32::try_from(code.side()).unwrap_or(0) * scale;
    let top = (HEIGHT_PX.saturating_sub(side) / 2).cast_signed();
    for y in 0..code.side() {
        for x in 0..code.side() {
            if code.is_light(x, y) {
                let at = |n: usize| i32::try_from(n).unwrap_or(0) * scale.cast_signed();
                let corner = Point::new(at(x), top + at(y));
                fill(corner, Size::new(scale, scale), BinaryColor::On, target)?;
            }
        }
    }
    let left = side.cast_signed() + 4;
    let columns = usize::try_from((128 - left) / 6).unwrap_or(0);
    let mut rows = wrap("Scan with a phone", columns);
    if let Some(claim) = &status.claim_code {
        rows.push(String::new());
        rows.push("Code:".into());
        rows.extend(wrap(claim, columns));
    }
    for (row, y) in fit(rows, columns, 5).iter().zip((4..).step_by(11)) {
        write(row, Point::new(left, y), &FONT_6X10, BinaryColor::On, target)?;
    }
    Ok(())
}

fn draw_concern<D>(concern: &Concern, status: &Status, target: &mut D) -> Result<(), D::Error>
where
    D: DrawTarget<Color = BinaryColor>,
{
    draw_heading(&status.state, target)?;
    let title = format!("{} {}", concern.area.number(), concern.area.name());
    write(&title, Point::new(1, 17), &FONT_7X13_BOLD, BinaryColor::On, target)?;
    let rows = fit(wrap(&concern.advice, COLUMNS), COLUMNS, 3);
    for (row, y) in rows.iter().zip((32..).step_by(11)) {
        write(row, Point::new(1, y), &FONT_6X10, BinaryColor::On, target)?;
    }
    Ok(())
}

fn draw_heading<D>(state: &State, target: &mut D) -> Result<(), D::Error>
where
    D: DrawTarget<Color = BinaryColor>,
{
    fill(Point::zero(), Size::new(128, 15), BinaryColor::On, target)?;
    draw_sign(state.sign(), target)?;
    write(state.word(), Point::new(20, 1), &FONT_7X13_BOLD, BinaryColor::Off, target)
}

/// The shape in the bar, about 11 pixels each way.
fn draw_sign<D>(sign: Sign, target: &mut D) -> Result<(), D::Error>
where
    D: DrawTarget<Color = BinaryColor>,
{
    let strokes: &[[(i32, i32); 2]] = match sign {
        Sign::Check => &[[(4, 8), (7, 11)], [(7, 11), (14, 4)]],
        Sign::Cross => &[[(5, 3), (13, 11)], [(13, 3), (5, 11)]],
        Sign::Arrow => &[[(4, 7), (13, 7)], [(9, 3), (13, 7)], [(9, 11), (13, 7)]],
        Sign::Bang | Sign::Question | Sign::Dots | Sign::Square => &[],
    };
    for [from, to] in strokes {
        Line::new(Point::from(*from), Point::from(*to))
            .into_styled(PrimitiveStyle::with_stroke(BinaryColor::Off, 2))
            .draw(target)?;
    }
    match sign {
        Sign::Bang => {
            fill(Point::new(8, 2), Size::new(3, 7), BinaryColor::Off, target)?;
            fill(Point::new(8, 11), Size::new(3, 2), BinaryColor::Off, target)
        }
        Sign::Question => write("?", Point::new(6, 1), &FONT_7X13_BOLD, BinaryColor::Off, target),
        Sign::Dots => {
            for x in [4, 8, 12] {
                fill(Point::new(x, 7), Size::new(2, 2), BinaryColor::Off, target)?;
            }
            Ok(())
        }
        Sign::Square => fill(Point::new(5, 3), Size::new(9, 9), BinaryColor::Off, target),
        Sign::Check | Sign::Cross | Sign::Arrow => Ok(()),
    }
}

/// A bar along the bottom, with the percentage at its right.
fn draw_progress<D>(progress: Progress, target: &mut D) -> Result<(), D::Error>
where
    D: DrawTarget<Color = BinaryColor>,
{
    Rectangle::new(Point::new(1, 53), Size::new(100, 9))
        .into_styled(PrimitiveStyle::with_stroke(BinaryColor::On, 1))
        .draw(target)?;
    let length = u32::from(progress.get()) * 96 / 100;
    fill(Point::new(3, 55), Size::new(length, 5), BinaryColor::On, target)?;
    write(&format!("{progress:>4}"), Point::new(103, 53), &FONT_6X10, BinaryColor::On, target)
}

fn write<D>(
    text: &str,
    at: Point,
    font: &MonoFont<'_>,
    color: BinaryColor,
    target: &mut D,
) -> Result<(), D::Error>
where
    D: DrawTarget<Color = BinaryColor>,
{
    Text::with_baseline(text, at, MonoTextStyle::new(font, color), Baseline::Top)
        .draw(target)
        .map(|_| ())
}

fn fill<D>(corner: Point, size: Size, color: BinaryColor, target: &mut D) -> Result<(), D::Error>
where
    D: DrawTarget<Color = BinaryColor>,
{
    target.fill_solid(&Rectangle::new(corner, size), color)
}

/// The code of a status and the pixels per module, if its quiet zone fits the display as well.
fn fitting_code(status: &Status) -> Option<(Code, u32)> {
    let code = Code::new(status.qr.as_deref()?)?;
    let scale = u32::try_from(HEIGHT / code.side()).unwrap_or(0);
    (scale > 0).then_some((code, scale))
}

/// An address without `http://` if only that makes it fit; browsers add it.
fn short(address: &str, width: usize) -> &str {
    if address.chars().count() <= width {
        return address;
    }
    address.strip_prefix("http://").unwrap_or(address)
}

/// Characters of the small font in a row.
const COLUMNS: usize = 21;
/// The display's height where drawing code counts in u32.
const HEIGHT_PX: u32 = 64;
