//! A track that is in another broadcast than the catalog that lists it.

use std::{pin::pin, time::Duration};

use moq_net::{PathOwned, origin};
use tokio_util::sync::CancellationToken;

use crate::source::{message::TrackEnd, track::Reader};

/// How long the other broadcast is waited for until that is told; then it is waited for again.
const WAIT: Duration = Duration::from_secs(5);

/// Reads the track of the broadcast at `path`, until it ends or that broadcast goes.
///
/// The catalog of that broadcast is not read: a reference leads one step, and never in a circle.
/// `retired` is the token of the reader's own configuration.
pub(crate) async fn read(
    reader: Reader,
    origin: origin::Consumer,
    path: PathOwned,
    retired: CancellationToken,
) -> TrackEnd {
    let finding = tokio::time::timeout(WAIT, origin.routed_broadcast(&path));
    let broadcast = tokio::select! {
        biased;
        () = retired.cancelled() => return TrackEnd::Retired,
        found = finding => match found {
            Ok(Ok(broadcast)) => broadcast,
            Ok(Err(_)) | Err(_) => return TrackEnd::Missing(path.to_string()),
        },
    };
    let gone = || TrackEnd::Lost(format!("the broadcast \"{path}\" is gone"));
    let mut reading = pin!(reader.run(broadcast.clone()));
    let end = tokio::select! {
        biased;
        end = &mut reading => end,
        _ = broadcast.closed() => {
            // What is under way is still taken.
            retired.cancel();
            reading.await;
            return gone();
        }
    };
    if !matches!(end, TrackEnd::Finished) {
        return end;
    }
    // Only the catalog ends the pad: the track goes on when its broadcast comes again.
    tokio::select! {
        biased;
        () = retired.cancelled() => end,
        _ = broadcast.closed() => gone(),
    }
}
