//! The dictionary that is part of the program, for a box that has no mail of its own to learn
//! from yet: what mailers write into headers, the skeletons of HTML mail, the phrases of letters,
//! orders and lists, in lines that end as they do in mail. All of it was written for this purpose.
//!
//! It is number 0 for ever. Mail is stored that can only be read with it, so it never changes,
//! not by a byte; a better one would be another file with a number of its own.

/// The text; not in zstd's dictionary format, so it counts as content alone.
pub(super) static TEXT: &[u8] = include_bytes!("starter/0.dict");

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test")]
mod tests {
    use zstd::bulk::Compressor;

    use super::*;

    #[test]
    fn it_never_changes() {
        let hash = blake3::hash(TEXT).to_hex();
        assert_eq!(
            hash.as_str(),
            "21d8389203a444fc4efcb1d9a4d99a687d6c75a26853fa92b97bd00fee4ad4f1"
        );
    }

    #[test]
    fn it_is_taken_as_content_and_its_lines_end_as_in_mail() {
        assert!(!TEXT.starts_with(&0xEC30_A437_u32.to_le_bytes()), "zstd's own format");
        assert!((16 << 10..64 << 10).contains(&TEXT.len()), "{}", TEXT.len());
        let text = std::str::from_utf8(TEXT).unwrap();
        assert!(text.lines().count() == text.matches("\r\n").count());
        assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
    }

    #[test]
    fn the_first_small_messages_are_stored_small() {
        let messages = [
            "Return-Path: <anna@post.example>\r\nDelivered-To: otto@home.example\r\n\
             Received: from mx.post.example ([198.51.100.7])\r\n\tby box.home.example with ESMTPS \
             id 5f2c-9\r\n\tfor <otto@home.example>;\r\n\tWed, 02 Dec 2026 17:21:03 +0000\r\n\
             Date: Wed, 2 Dec 2026 18:21:01 +0100\r\nFrom: Anna <anna@post.example>\r\n\
             To: Otto <otto@home.example>\r\nMessage-ID: <7c1f@post.example>\r\n\
             Subject: Sunday\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
             Hi Otto,\r\n\r\nwould you like to come over on Sunday? Let me know.\r\n\r\n\
             Love, Anna\r\n",
            "Subject: Ihre Bestellung\r\nFrom: Laden <info@laden.example>\r\n\
             Content-Type: text/html; charset=\"utf-8\"\r\n\r\n<html>\r\n<body>\r\n\
             <table role=\"presentation\" border=\"0\" cellpadding=\"0\" cellspacing=\"0\" \
             width=\"100%\"><tr><td align=\"center\" valign=\"top\">Guten Tag, vielen Dank \
             f\u{fc}r Ihre Bestellung.</td></tr></table>\r\n</body>\r\n</html>\r\n",
        ];
        for message in messages {
            let with = Compressor::with_dictionary(3, TEXT).unwrap().compress(message.as_bytes());
            let without = Compressor::new(3).unwrap().compress(message.as_bytes());
            let (with, without) = (with.unwrap().len(), without.unwrap().len());
            assert!(
                with * 10 < without * 7,
                "{with} of {} bytes, {without} without",
                message.len()
            );
        }
    }
}
