//! Binlog files that are longer than the 32 bits in which an event says where it ends.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use evictd::binlog::events::event_type::{IGNORABLE, TABLE_MAP, XID};

use super::shop::{Config, Shop, WITHIN, stop};
use crate::support::{MysqlOptions, Relay, eventually};

const FOUR_GIB: u64 = 1 << 32;

/// An event that readers pass over; one packet holds it.
const FILLER_BYTES: u32 = 15 << 20;

/// Rewrites a binlog without checksums: behind its first change of a table come `fillers` that pass 4 GiB, and one
/// behind each further change. The file is sparse: nothing but its headers takes room. Returns where each
/// transaction ends.
fn lengthen(path: &Path, fillers: u32) -> Vec<u64> {
    let bytes = std::fs::read(path).unwrap();
    let mut out = File::create(path).unwrap();
    out.write_all(&bytes[..4]).unwrap();
    let (mut rest, mut offset) = (&bytes[4..], 4_u64);
    let (mut ends, mut changed) = (Vec::new(), false);
    while !rest.is_empty() {
        let size = u32::from_le_bytes(rest[9..13].try_into().unwrap());
        let (event, after) = rest.split_at(size as usize);
        rest = after;
        let mut event = event.to_vec();
        put(&mut out, &mut event, &mut offset);
        changed |= event[4] == TABLE_MAP;
        if event[4] != XID || !changed {
            continue;
        }
        ends.push(offset);
        changed = false;
        let count = if ends.len() == 1 { fillers } else { 1 };
        for _ in 0..count {
            let mut filler = event[..19].to_vec();
            filler[4] = IGNORABLE;
            filler[9..13].copy_from_slice(&FILLER_BYTES.to_le_bytes());
            // LOG_EVENT_IGNORABLE_F
            filler[17..19].copy_from_slice(&0x80_u16.to_le_bytes());
            put(&mut out, &mut filler, &mut offset);
        }
    }
    out.set_len(offset).unwrap();
    ends
}

/// Writes an event that says where it ends as the server does: in 32 bits.
fn put(out: &mut File, event: &mut [u8], offset: &mut u64) {
    let size = u32::from_le_bytes(event[9..13].try_into().unwrap());
    let end = *offset + u64::from(size);
    event[13..17].copy_from_slice(&((end % FOUR_GIB) as u32).to_le_bytes());
    out.seek(SeekFrom::Start(*offset)).unwrap();
    out.write_all(event).unwrap();
    *offset = end;
}

async fn beyond(gtid: bool) {
    let mut shop = Shop::own(MysqlOptions {
        gtid,
        extra: vec!["--binlog-checksum=NONE".to_owned()],
        ..MysqlOptions::default()
    })
    .await;
    shop.sql("FLUSH BINARY LOGS").await;
    let (file, ..) = shop.end().await;
    for id in 1..=4 {
        shop.sql(&format!("INSERT INTO users (id) VALUES ({id})"))
            .await;
    }
    shop.mysql_mut().stop().await;
    let fillers = u32::try_from(FOUR_GIB / u64::from(FILLER_BYTES)).unwrap() + 1;
    let ends = lengthen(&shop.mysql().data_dir().join(&file), fillers);
    assert!(
        ends.len() == 4 && ends[0] < FOUR_GIB && ends[1] > FOUR_GIB,
        "{ends:?}"
    );
    shop.mysql_mut().start_again().await;

    let relay = Relay::to(shop.mysql().port()).await;
    let keys = [1, 2, 3, 4, 9].map(|id| format!("user:{id}:profile"));
    shop.fill(&keys).await;
    let mut config: Config = shop
        .config()
        .source(&format!("start = \"{file}:4\"\nheartbeat = \"1s\""));
    config.source_url = format!("mysql://evictd@127.0.0.1:{}", relay.port());
    // In the midst of what stands between the second change and the third.
    relay.hold_after(ends[1] + u64::from(FILLER_BYTES) / 2);
    let evictd = config.start().await;
    eventually("the second key goes", WITHIN * 4, async || {
        (shop.redis.keys().await == keys[2..]).then_some(())
    })
    .await;
    let stored = eventually("the checkpoint is behind 4 GiB", WITHIN, async || {
        let stored = shop.checkpoint()?;
        (stored["offset"].as_u64()? >= ends[1]).then_some(stored)
    })
    .await;
    assert_eq!(
        (stored["file"].as_str(), stored["offset"].as_u64()),
        (Some(file.as_str()), Some(ends[1]))
    );
    stop(evictd).await;
    relay.release();

    shop.fill(&keys).await;
    let evictd = config.start().await;
    eventually("the last key goes", WITHIN * 4, async || {
        (!shop.redis.keys().await.contains(&keys[3])).then_some(())
    })
    .await;
    shop.done(&evictd).await;
    assert_eq!(
        shop.redis.keys().await,
        [0, 1, 4].map(|index| keys[index].clone()),
        "nothing before the checkpoint was read again, nothing after it is lost\n{}",
        evictd.tail()
    );
    shop.checkpoint_at_end().await;
    let lines = evictd.lines();
    let wide = lines.iter().find(|line| line.contains("invalidating"));
    assert_eq!(wide, None);
    stop(evictd).await;
}

#[tokio::test]
async fn a_file_beyond_4_gib_is_read_and_resumed_at_file_and_offset() {
    beyond(false).await;
}

#[tokio::test]
async fn a_file_beyond_4_gib_is_read_and_resumed_by_gtid() {
    beyond(true).await;
}
