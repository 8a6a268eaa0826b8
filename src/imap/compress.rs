//! COMPRESS (RFC 4978): from the end of its answer on, both directions are a stream of DEFLATE.
//! The session goes on with plain bytes; its server does the work.

use super::command::Tag;
use super::session::{Effect, Session};

impl Session {
    /// RFC 4978 §3. TLS never compresses here, so that there is no other layer that could.
    pub(super) fn compress(&mut self, tag: &Tag) {
        if self.compressing {
            return self.bad(tag, "[COMPRESSIONACTIVE] COMPRESS is active already");
        }
        self.compressing = true;
        self.ok(tag, "From here on everything is compressed");
        // A client that did not wait has compressed what follows its command.
        let rest = self.input.take_rest();
        self.effect(Effect::Compress(rest));
    }
}
