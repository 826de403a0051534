//! Writes the XML, in the form that MSCCL's hand-written reader takes: one blank between attributes, no declaration.

use std::fmt::{self, Write};

use super::file::{Algo, Block, Copied, Gpu, Place, Step};

/// The XML.
impl fmt::Display for Algo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, coll, proto, channels, chunks_per_loop, ranks, .. } = self;
        write!(
            f,
            "<algo name=\"{}\" proto=\"{}\" nchannels=\"{channels}\" nchunksperloop=\"{chunks_per_loop}\" ngpus=\"{ranks}\" \
             coll=\"{}\" inplace=\"{}\"",
            plain(name),
            proto.name(),
            plain(coll),
            u8::from(self.in_place)
        )?;
        if let Some(out_of_place) = self.out_of_place {
            write!(f, " outofplace=\"{}\"", u8::from(out_of_place))?;
        }
        for (attribute, bytes) in [("minBytes", self.min_bytes), ("maxBytes", self.max_bytes)] {
            if let Some(bytes) = bytes {
                write!(f, " {attribute}=\"{bytes}\"")?;
            }
        }
        f.write_str(">\n")?;
        self.gpus.iter().try_for_each(|of| gpu(f, of))?;
        f.write_str("</algo>\n")
    }
}

fn gpu(f: &mut fmt::Formatter<'_>, gpu: &Gpu) -> fmt::Result {
    let Gpu { id, input_chunks, output_chunks, scratch_chunks, blocks, copies } = gpu;
    writeln!(
        f,
        "  <gpu id=\"{id}\" i_chunks=\"{input_chunks}\" o_chunks=\"{output_chunks}\" s_chunks=\"{scratch_chunks}\">"
    )?;
    for Copied { input, output, .. } in copies {
        writeln!(f, "    <copy i_off=\"{input}\" o_off=\"{output}\"/>")?;
    }
    blocks.iter().try_for_each(|of| block(f, of))?;
    f.write_str("  </gpu>\n")
}

fn block(f: &mut fmt::Formatter<'_>, block: &Block) -> fmt::Result {
    let Block { id, channel, steps, .. } = block;
    let [send, recv] = [block.send, block.recv].map(or_none);
    writeln!(f, "    <tb id=\"{id}\" send=\"{send}\" recv=\"{recv}\" chan=\"{channel}\">")?;
    steps.iter().try_for_each(|of| step(f, of))?;
    f.write_str("    </tb>\n")
}

fn step(f: &mut fmt::Formatter<'_>, step: &Step) -> fmt::Result {
    let Step { number, kind, source, destination, count, after, published, .. } = step;
    let buffer = |place: &Place| place.memory.letter();
    writeln!(
        f,
        "      <step s=\"{number}\" type=\"{}\" srcbuf=\"{}\" srcoff=\"{}\" dstbuf=\"{}\" dstoff=\"{}\" cnt=\"{count}\" depid=\"{}\" \
         deps=\"{}\" hasdep=\"{}\"/>",
        kind.name(),
        buffer(source),
        or_none(source.chunk),
        buffer(destination),
        or_none(destination.chunk),
        or_none(after.map(|(block, _)| block)),
        or_none(after.map(|(_, step)| step)),
        u8::from(*published)
    )
}

fn or_none(n: Option<u32>) -> String {
    n.map_or_else(|| "-1".to_owned(), |n| n.to_string())
}

/// A name without what would need an entity, which runtimes do not read.
fn plain(name: &str) -> String {
    let mut plain = String::new();
    for c in name.chars() {
        let _ = plain.write_char(if c.is_control() || "<>&\"'".contains(c) { '_' } else { c });
    }
    plain
}
