//! A short list: the waits, operands, destinations or notifies of an instruction, mostly one or two.
//!
//! A schedule has millions of instructions, so what is short lies in the instruction itself and takes no more bytes than
//! it must: an instruction of more than 128 is moved by calls of `memcpy`, and building takes half as long again.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};

/// A list that holds up to `N` values without an allocation. It dereferences to a slice.
#[derive(Clone)]
pub struct Few<T, const N: usize>(Values<T, N>);

#[derive(Clone)]
enum Values<T, const N: usize> {
    /// The first so many of these; `N` is below 256.
    Here(u8, [T; N]),
    // Boxed, for a pointer is as long as one value and a vector is three.
    #[allow(clippy::box_collection)]
    There(Box<Vec<T>>),
}

impl<T: Copy + Default, const N: usize> Few<T, N> {
    /// An empty list.
    #[inline]
    pub fn new() -> Self {
        Self(Values::Here(0, [T::default(); N]))
    }

    /// Appends a value.
    #[inline]
    pub fn push(&mut self, value: T) {
        match &mut self.0 {
            Values::Here(len, values) if usize::from(*len) < N => {
                values[usize::from(*len)] = value;
                *len += 1;
            }
            _ => self.push_there(value),
        }
    }

    #[cold]
    fn push_there(&mut self, value: T) {
        match &mut self.0 {
            Values::There(values) => values.push(value),
            Values::Here(len, values) => {
                let mut all = values[..usize::from(*len)].to_vec();
                all.push(value);
                self.0 = Values::There(Box::new(all));
            }
        }
    }

    /// Bytes of the allocation that it has, if there is one.
    pub(crate) fn heap_bytes(&self) -> usize {
        match &self.0 {
            Values::Here(..) => 0,
            Values::There(values) => values.len() * size_of::<T>(),
        }
    }

    /// Removes the value at `index`, which must exist, and returns it.
    pub fn remove(&mut self, index: usize) -> T {
        let mut rest = self.to_vec();
        let removed = rest.remove(index);
        *self = rest.into_iter().collect();
        removed
    }

    /// Removes all values.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Keeps the values that `keep` says.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        *self = self.iter().copied().filter(|value| keep(value)).collect();
    }
}

impl<T: Copy + Default, const N: usize> Default for Few<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const N: usize> Deref for Few<T, N> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match &self.0 {
            Values::Here(len, values) => &values[..usize::from(*len)],
            Values::There(values) => values,
        }
    }
}

impl<T, const N: usize> DerefMut for Few<T, N> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.0 {
            Values::Here(len, values) => &mut values[..usize::from(*len)],
            Values::There(values) => values,
        }
    }
}

impl<T: PartialEq, const N: usize> PartialEq for Few<T, N> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq, const N: usize> Eq for Few<T, N> {}

impl<T: Hash, const N: usize> Hash for Few<T, N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl<T: fmt::Debug, const N: usize> fmt::Debug for Few<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: Copy + Default, const N: usize> FromIterator<T> for Few<T, N> {
    #[inline]
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut few = Self::new();
        few.extend(values);
        few
    }
}

impl<T: Copy + Default, const N: usize> Extend<T> for Few<T, N> {
    #[inline]
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        let mut values = values.into_iter();
        while let Values::Here(len, here) = &mut self.0 {
            let Some(value) = values.next() else { return };
            match here.get_mut(usize::from(*len)) {
                Some(free) => {
                    *free = value;
                    *len += 1;
                }
                None => {
                    let mut all = Vec::with_capacity(N + 1 + values.size_hint().0);
                    all.extend_from_slice(here);
                    all.push(value);
                    self.0 = Values::There(Box::new(all));
                }
            }
        }
        if let Values::There(all) = &mut self.0 {
            all.extend(values);
        }
    }
}

impl<'a, T, const N: usize> IntoIterator for &'a Few<T, N> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, T, const N: usize> IntoIterator for &'a mut Few<T, N> {
    type Item = &'a mut T;
    type IntoIter = std::slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_vector_of_any_length() {
        for len in 0..5u32 {
            let vector: Vec<u32> = (0..len).map(|i| i * 7).collect();
            let few: Few<u32, 2> = vector.iter().copied().collect();
            assert_eq!(*few, *vector);
            assert_eq!(format!("{few:?}"), format!("{vector:?}"));
            for index in 0..len as usize {
                let (mut few, mut vector) = (few.clone(), vector.clone());
                assert_eq!(few.remove(index), vector.remove(index));
                assert_eq!(*few, *vector);
                few.push(1);
                assert_eq!(few.len(), len as usize);
            }
            let mut odd = few.clone();
            odd.retain(|value| value % 2 == 1);
            assert!(odd.iter().all(|value| value % 2 == 1) && odd.len() == len as usize / 2);
            assert_eq!(few == odd, len == 0);
            odd.clear();
            assert_eq!(odd, Few::new());
        }
    }
}
