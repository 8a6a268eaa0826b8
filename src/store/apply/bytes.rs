//! Where bodies and parts lie, who still refers to them, and what of each segment is needed.

use redb::ReadableTable;

use super::super::codec::Encoder;
use super::super::error::StoreError;
use super::super::event::{ChunkRef, Hash, Stored};
use super::super::index::index;
use super::super::rows::{Counted, body_row, part_row};
use super::super::types::BodyId;
use super::Tables;

impl Tables<'_> {
    /// A body is here now; what it was made of before is not needed any more.
    pub(super) fn place_body(&mut self, id: BodyId, new: &Stored) -> Result<(), StoreError> {
        let old = self.body(id)?;
        self.count_stored(new, 1)?;
        if let Some(old) = &old.place {
            self.count_stored(old, -1)?;
        }
        self.put_body(id, old.refs, Some(new))
    }

    /// One reference more or fewer; a body without any is gone.
    pub(super) fn count_ref(&mut self, id: BodyId, change: i64) -> Result<(), StoreError> {
        let Counted { refs, place } = self.body(id)?;
        let refs = refs.saturating_add_signed(change);
        if refs > 0 || self.anew.is_some() {
            return self.put_body(id, refs, place.as_ref());
        }
        self.bodies.remove(id.0).map_err(index)?;
        place.map_or(Ok(()), |stored| self.count_stored(&stored, -1))
    }

    /// Counts what a body is made of.
    fn count_stored(&mut self, stored: &Stored, change: i64) -> Result<(), StoreError> {
        for chunk in &stored.chunks {
            self.count_live(chunk, change)?;
        }
        for part in &stored.parts {
            let Counted { refs, place } = self.part(part.hash)?;
            let refs = refs.saturating_add_signed(change);
            if refs > 0 || self.anew.is_some() {
                self.put_part(part.hash, refs, place.as_ref())?;
            } else {
                self.parts.remove(part.hash.0).map_err(index)?;
                place.map_or(Ok(()), |chunk| self.count_live(&chunk, -1))?;
            }
        }
        Ok(())
    }

    /// A part is here now.
    pub(super) fn place_part(&mut self, hash: Hash, new: &ChunkRef) -> Result<(), StoreError> {
        let Counted { refs, place } = self.part(hash)?;
        self.count_live(new, 1)?;
        place.map_or(Ok(()), |old| self.count_live(&old, -1))?;
        self.put_part(hash, refs, Some(new))
    }

    /// A body's row; an empty one when there is none.
    pub(in super::super) fn body(&self, id: BodyId) -> Result<Counted<Stored>, StoreError> {
        let row = self.bodies.get(id.0).map_err(index)?;
        row.map_or(Ok(Counted { refs: 0, place: None }), |row| body_row(row.value()))
    }

    /// A part's row; an empty one when there is none.
    pub(in super::super) fn part(&self, hash: Hash) -> Result<Counted<ChunkRef>, StoreError> {
        let row = self.parts.get(hash.0).map_err(index)?;
        row.map_or(Ok(Counted { refs: 0, place: None }), |row| part_row(row.value()))
    }

    fn put_body(&mut self, id: BodyId, refs: u64, at: Option<&Stored>) -> Result<(), StoreError> {
        let mut out = Encoder::default();
        out.number(refs);
        at.inspect(|stored| stored.encode(&mut out));
        self.bodies.insert(id.0, &*out.finish()).map_err(index)?;
        Ok(())
    }

    fn put_part(&mut self, hash: Hash, refs: u64, at: Option<&ChunkRef>) -> Result<(), StoreError> {
        let mut out = Encoder::default();
        out.number(refs);
        at.inspect(|chunk| chunk.encode(&mut out));
        self.parts.insert(hash.0, &*out.finish()).map_err(index)?;
        Ok(())
    }

    fn count_live(&mut self, chunk: &ChunkRef, change: i64) -> Result<(), StoreError> {
        let old = self.live.get(chunk.segment).map_err(index)?.map_or(0, |old| old.value());
        let change = change.saturating_mul(chunk.stored.into());
        match old.saturating_add_signed(change) {
            0 => drop(self.live.remove(chunk.segment).map_err(index)?),
            new => drop(self.live.insert(chunk.segment, new).map_err(index)?),
        }
        Ok(())
    }

    pub(super) fn drop_unused(&mut self) -> Result<(), StoreError> {
        let mut unused = Vec::new();
        for entry in self.bodies.range::<u64>(..).map_err(index)? {
            let (id, row) = entry.map_err(index)?;
            if body_row(row.value())?.refs == 0 {
                unused.push(BodyId(id.value()));
            }
        }
        unused.into_iter().try_for_each(|id| self.count_ref(id, 0))?;
        let mut unused = Vec::new();
        for entry in self.parts.range::<[u8; 16]>(..).map_err(index)? {
            let (hash, row) = entry.map_err(index)?;
            let Counted { refs, place } = part_row(row.value())?;
            if refs == 0 {
                unused.push((hash.value(), place));
            }
        }
        for (hash, place) in unused {
            self.parts.remove(hash).map_err(index)?;
            place.map_or(Ok(()), |chunk| self.count_live(&chunk, -1))?;
        }
        Ok(())
    }
}
