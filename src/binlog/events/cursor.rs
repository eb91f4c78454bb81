//! A bounds-checked reader over bytes from the wire.
//!
//! MySQL writes its protocol's integers little-endian and its packed values
//! (temporal types, BIT, DECIMAL) big-endian, so both are here. Nothing in the
//! decoder reaches into an event except through this reader or a slice it cut.

/// The bytes ended before the value did. Callers add what they were reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated;

/// Reads from the front of a slice and never past its end.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte of `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes that are left to read.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `n` bytes.
    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Truncated> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, Truncated> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// Two bytes, little-endian.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, Truncated> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Three bytes, little-endian.
    #[inline]
    pub fn u24(&mut self) -> Result<u32, Truncated> {
        let [a, b, c] = self.array()?;
        Ok(u32::from_le_bytes([a, b, c, 0]))
    }

    /// Four bytes, little-endian.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, Truncated> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Six bytes, little-endian: a table id.
    #[inline]
    pub fn u48(&mut self) -> Result<u64, Truncated> {
        let [a, b, c, d, e, f] = self.array()?;
        Ok(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
    }

    /// Eight bytes, little-endian.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, Truncated> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// An integer of `n` bytes, little-endian. `n` above 8 is `Truncated`,
    /// for no such integer exists.
    #[inline]
    pub fn uint_le(&mut self, n: usize) -> Result<u64, Truncated> {
        uint_le(self.take(n)?).ok_or(Truncated)
    }

    /// An integer of `n` bytes, big-endian. `n` above 8 is `Truncated`, for no
    /// such integer exists.
    #[inline]
    pub fn uint_be(&mut self, n: usize) -> Result<u64, Truncated> {
        uint_be(self.take(n)?).ok_or(Truncated)
    }

    /// A length-encoded integer (MySQL source documentation, "Protocol::Length
    /// EncodedInteger"). 0xFB and 0xFF begin none and are `Truncated`.
    #[inline]
    pub fn lenenc(&mut self) -> Result<u64, Truncated> {
        match self.u8()? {
            small @ 0..=0xFA => Ok(u64::from(small)),
            0xFC => self.u16().map(u64::from),
            0xFD => self.u24().map(u64::from),
            0xFE => self.u64(),
            0xFB | 0xFF => Err(Truncated),
        }
    }

    /// A length-encoded integer that counts things in memory.
    #[inline]
    pub fn lenenc_len(&mut self) -> Result<usize, Truncated> {
        usize::try_from(self.lenenc()?).map_err(|_| Truncated)
    }

    /// Bytes behind their length-encoded length.
    #[inline]
    pub fn lenenc_bytes(&mut self) -> Result<&'a [u8], Truncated> {
        let n = self.lenenc_len()?;
        self.take(n)
    }

    /// Bytes behind a length of `prefix` bytes, little-endian.
    #[inline]
    pub fn prefixed(&mut self, prefix: Prefix) -> Result<&'a [u8], Truncated> {
        let n = match prefix {
            Prefix::One => usize::from(self.u8()?),
            Prefix::Two => usize::from(self.u16()?),
            Prefix::Three => usize::try_from(self.u24()?).map_err(|_| Truncated)?,
            Prefix::Four => usize::try_from(self.u32()?).map_err(|_| Truncated)?,
        };
        self.take(n)
    }
}

/// Number of bytes that hold the length before a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// CHAR and VARCHAR of up to 255 bytes, TINYBLOB.
    One,
    /// Longer CHAR and VARCHAR, BLOB.
    Two,
    /// MEDIUMBLOB.
    Three,
    /// LONGBLOB, JSON, GEOMETRY, VECTOR.
    Four,
}

impl Prefix {
    /// The prefix of `bytes` bytes, as a BLOB's metadata counts them.
    pub fn of_bytes(bytes: u8) -> Option<Self> {
        match bytes {
            1 => Some(Self::One),
            2 => Some(Self::Two),
            3 => Some(Self::Three),
            4 => Some(Self::Four),
            _ => None,
        }
    }
}

/// The little-endian integer in `bytes`; `None` if it has more than 8.
#[inline]
pub fn uint_le(bytes: &[u8]) -> Option<u64> {
    let mut wide = [0; 8];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(u64::from_le_bytes(wide))
}

/// The big-endian integer in `bytes`; `None` if it has more than 8.
#[inline]
pub fn uint_be(bytes: &[u8]) -> Option<u64> {
    let mut wide = [0; 8];
    let start = 8_usize.checked_sub(bytes.len())?;
    wide.get_mut(start..)?.copy_from_slice(bytes);
    Some(u64::from_be_bytes(wide))
}

/// Bit `index` of a bitmap whose first bit is the lowest of its first byte, as
/// null and column bitmaps are. Bits past the end are zero.
#[inline]
pub fn bit_lsb(bitmap: &[u8], index: usize) -> bool {
    bitmap
        .get(index / 8)
        .is_some_and(|byte| byte & (1 << (index % 8)) != 0)
}

/// Bit `index` of a bitmap whose first bit is the highest of its first byte, as
/// the table map's optional metadata writes them. Bits past the end are zero.
#[inline]
pub fn bit_msb(bitmap: &[u8], index: usize) -> bool {
    bitmap
        .get(index / 8)
        .is_some_and(|byte| byte & (0x80 >> (index % 8)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_little_endian_and_stop_at_the_end() {
        let mut cursor = Cursor::new(&[1, 2, 0, 3, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 0, 1, 9]);
        assert_eq!(cursor.u8(), Ok(1));
        assert_eq!(cursor.u16(), Ok(2));
        assert_eq!(cursor.u24(), Ok(3));
        assert_eq!(cursor.u32(), Ok(4));
        assert_eq!(cursor.u48(), Ok(5 | 1 << 40));
        assert_eq!(cursor.u16(), Err(Truncated));
        assert_eq!(cursor.rest(), &[9]);
        assert_eq!(cursor.uint_le(9), Err(Truncated));
        assert_eq!(cursor.uint_be(1), Ok(9));
        assert!(cursor.is_empty());
    }

    #[test]
    fn length_encoded_integers_of_every_form_are_read() {
        for (bytes, expected) in [
            (&[0xFA][..], Ok(0xFA)),
            (&[0xFB], Err(Truncated)),
            (&[0xFC, 1, 2], Ok(0x0201)),
            (&[0xFC, 1], Err(Truncated)),
            (&[0xFD, 1, 2, 3], Ok(0x03_0201)),
            (&[0xFE, 1, 0, 0, 0, 0, 0, 0, 0x80], Ok(1 | 1 << 63)),
            (&[0xFF], Err(Truncated)),
            (&[], Err(Truncated)),
        ] {
            assert_eq!(Cursor::new(bytes).lenenc(), expected, "{bytes:?}");
        }
        assert_eq!(Cursor::new(&[2, 7, 8, 9]).lenenc_bytes(), Ok(&[7, 8][..]));
        assert_eq!(Cursor::new(&[2, 7]).lenenc_bytes(), Err(Truncated));
        assert_eq!(Cursor::new(&[1, 0, 7]).prefixed(Prefix::Two), Ok(&[7][..]));
    }

    #[test]
    fn whole_slices_convert_in_both_orders() {
        assert_eq!(uint_le(&[1, 2]), Some(0x0201));
        assert_eq!(uint_be(&[1, 2]), Some(0x0102));
        assert_eq!(uint_be(&[0; 9]), None);
        assert_eq!(uint_le(&[]), Some(0));
        assert!(bit_lsb(&[0b10], 1) && !bit_lsb(&[0b10], 9));
        assert!(bit_msb(&[0b0100_0000], 1) && !bit_msb(&[], 0));
    }
}
