//! A picture of the small display in memory: 128 × 64 pixels, lit or dark.
//!
//! The pages are drawn on it for pictures and tests; on the real display the same drawing code
//! writes to the driver's own buffer.

use std::convert::Infallible;
use std::fmt;

use embedded_graphics::pixelcolor::BinaryColor;
use embedded_graphics::prelude::*;

/// Pixels from left to right.
pub const WIDTH: usize = 128;
/// Pixels from top to bottom.
pub const HEIGHT: usize = 64;

/// A picture, dark where nothing was drawn. Shows itself as text, two pixels to a character.
#[derive(Clone, PartialEq, Eq)]
pub struct Canvas {
    lit: Box<[[bool; WIDTH]; HEIGHT]>,
}

impl Canvas {
    /// All dark.
    pub fn new() -> Self {
        Self { lit: Box::new([[false; WIDTH]; HEIGHT]) }
    }

    /// Whether a pixel is lit; outside the picture nothing is.
    pub fn is_lit(&self, x: usize, y: usize) -> bool {
        self.lit.get(y).and_then(|row| row.get(x)).copied().unwrap_or(false)
    }
}

impl Default for Canvas {
    fn default() -> Self {
        Self::new()
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        #[allow(clippy::cast_possible_truncation, reason = "128 and 64")]
        Size::new(WIDTH as u32, HEIGHT as u32)
    }
}

impl DrawTarget for Canvas {
    type Color = BinaryColor;
    type Error = Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Pixel<BinaryColor>>,
    {
        for Pixel(point, color) in pixels {
            let (Ok(x), Ok(y)) = (usize::try_from(point.x), usize::try_from(point.y)) else {
                continue;
            };
            if let Some(pixel) = self.lit.get_mut(y).and_then(|row| row.get_mut(x)) {
                *pixel = color.is_on();
            }
        }
        Ok(())
    }
}

impl fmt::Display for Canvas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for y in (0..HEIGHT).step_by(2) {
            let row: String =
                (0..WIDTH).map(|x| half_blocks(self.is_lit(x, y), self.is_lit(x, y + 1))).collect();
            writeln!(f, "{}", row.trim_end())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Canvas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}

/// The character that shows two pixels, one above the other.
pub(crate) fn half_blocks(upper: bool, lower: bool) -> char {
    match (upper, lower) {
        (false, false) => ' ',
        (true, false) => '▀',
        (false, true) => '▄',
        (true, true) => '█',
    }
}
