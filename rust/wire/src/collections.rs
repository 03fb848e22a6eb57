//! Maps and lists with a form of their own on the wire.

use bytes::BytesMut;

use crate::codec::{Codec, DecodeError, Reader, write_array_header, write_bin, write_map_header};
use crate::ids::Oid;

/// A map, in the order of its bytes: order has no meaning, but re-encoding gives the same bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Map<K, V>(pub Vec<(K, V)>);

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: PartialEq, V> Map<K, V> {
    /// The value of a key; the last one if the key is repeated, as a Python dict would have it.
    pub fn get<Q: ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: PartialEq<Q>,
    {
        self.0.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value)
    }
}

impl<K, V> FromIterator<(K, V)> for Map<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl<K: Codec, V: Codec> Codec for Map<K, V> {
    fn notation(out: &mut String) {
        out.push('{');
        K::notation(out);
        out.push_str(": ");
        V::notation(out);
        out.push('}');
    }

    fn encode(&self, out: &mut BytesMut) {
        write_map_header(out, self.0.len());
        for (key, value) in &self.0 {
            key.encode(out);
            value.encode(out);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.map()?;
        let mut entries = reader.room(length)?;
        for _ in 0..length {
            let key = K::decode(reader)?;
            entries.push((key, V::decode(reader)?));
        }
        Ok(Self(entries))
    }
}

/// The OIDs of a pack order: an array, or the single bin that storages of the Python NEO answer
/// (spec protocol.md 5.10). We only ever make arrays, and forward arrays: see [`OidList::list`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OidList {
    /// The regular form.
    List(Vec<Oid>),
    /// The OIDs one after the other in one bin.
    Concatenated(Vec<Oid>),
}

impl OidList {
    /// The OIDs, whatever the form they came in.
    #[must_use]
    pub fn list(self) -> Vec<Oid> {
        match self {
            Self::List(oids) | Self::Concatenated(oids) => oids,
        }
    }
}

impl Codec for OidList {
    fn notation(out: &mut String) {
        Vec::<Oid>::notation(out);
    }

    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::List(oids) => {
                write_array_header(out, oids.len());
                oids.iter().for_each(|oid| oid.encode(out));
            }
            Self::Concatenated(oids) => {
                let bytes: Vec<u8> = oids.iter().flat_map(|oid| oid.to_bytes()).collect();
                write_bin(out, &bytes);
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if !matches!(reader.peek()?, 0xc4..=0xc6) {
            return Vec::decode(reader).map(Self::List);
        }
        let (chunks, rest) = reader.bin()?.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(DecodeError::Length("oids"));
        }
        Ok(Self::Concatenated(chunks.iter().map(|bytes| Oid::from_bytes(*bytes)).collect()))
    }
}
