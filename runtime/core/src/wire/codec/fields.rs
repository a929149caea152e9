//! The small numbers of an advertisement's fields, and a reader that cannot run off the end.
//!
//! The numbers are those of the table in `advert`; they never change their meaning. None is 0, so
//! a zeroed frame means nothing.

use core::time::Duration;

use super::super::advert::{Kind, RoleMark};
use super::DecodeError;
use crate::role::{ConfiguredRole, EffectiveRole};

/// What is left to read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next `N` bytes.
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(DecodeError::Malformed)?;
        self.0 = rest;
        Ok(*bytes)
    }

    /// The next `length` bytes.
    pub(super) fn slice(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (bytes, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(DecodeError::Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.take().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.take().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.take().map(u64::from_be_bytes)
    }
}

/// A length as two bytes. Callers stay below `PAYLOAD_MAX`, so nothing is ever cut.
pub(super) fn be16(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

/// Whole microseconds; saturates at 71 minutes.
pub(super) fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

pub(super) const fn mark_byte(mark: RoleMark) -> u8 {
    match mark {
        RoleMark::Standby => 1,
        RoleMark::Active => 2,
        RoleMark::Offering => 3,
    }
}

pub(super) const fn mark_of(byte: u8) -> Result<RoleMark, DecodeError> {
    match byte {
        1 => Ok(RoleMark::Standby),
        2 => Ok(RoleMark::Active),
        3 => Ok(RoleMark::Offering),
        _ => Err(DecodeError::Malformed),
    }
}

impl Kind {
    /// The byte that stands for this kind, at byte 16 of the frame.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Advert => 1,
            Self::Answer => 2,
            Self::Claim => 3,
            Self::Decline => 4,
            Self::LetGo => 5,
            Self::Offer => 6,
            Self::Prepare => 7,
            Self::Probe => 8,
            Self::Ready => 9,
            Self::Released => 10,
            Self::Request => 11,
        }
    }

    /// The kind that a byte stands for, if any.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Advert,
            2 => Self::Answer,
            3 => Self::Claim,
            4 => Self::Decline,
            5 => Self::LetGo,
            6 => Self::Offer,
            7 => Self::Prepare,
            8 => Self::Probe,
            9 => Self::Ready,
            10 => Self::Released,
            11 => Self::Request,
            _ => return None,
        })
    }
}

pub(super) const fn configured_byte(role: ConfiguredRole) -> u8 {
    match role {
        ConfiguredRole::Active => 1,
        ConfiguredRole::Any => 2,
        ConfiguredRole::Off => 3,
        ConfiguredRole::Standby => 4,
    }
}

pub(super) const fn configured_of(byte: u8) -> Result<ConfiguredRole, DecodeError> {
    match byte {
        1 => Ok(ConfiguredRole::Active),
        2 => Ok(ConfiguredRole::Any),
        3 => Ok(ConfiguredRole::Off),
        4 => Ok(ConfiguredRole::Standby),
        _ => Err(DecodeError::Malformed),
    }
}

pub(super) const fn effective_byte(role: EffectiveRole) -> u8 {
    match role {
        EffectiveRole::Active => 1,
        EffectiveRole::Demoting => 2,
        EffectiveRole::Failed => 3,
        EffectiveRole::Off => 4,
        EffectiveRole::Pacified => 5,
        EffectiveRole::Promoting => 6,
        EffectiveRole::Standby => 7,
        EffectiveRole::Starting => 8,
    }
}

pub(super) const fn effective_of(byte: u8) -> Result<EffectiveRole, DecodeError> {
    match byte {
        1 => Ok(EffectiveRole::Active),
        2 => Ok(EffectiveRole::Demoting),
        3 => Ok(EffectiveRole::Failed),
        4 => Ok(EffectiveRole::Off),
        5 => Ok(EffectiveRole::Pacified),
        6 => Ok(EffectiveRole::Promoting),
        7 => Ok(EffectiveRole::Standby),
        8 => Ok(EffectiveRole::Starting),
        _ => Err(DecodeError::Malformed),
    }
}
