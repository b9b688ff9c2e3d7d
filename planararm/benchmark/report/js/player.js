// A clock over frames: play, pause, step, scrub. `show` is called with the frame.
const STILL_STEPS = 10;
const STILL_PAUSE = 500;
const SHORTEST_PAUSE = 33;

function makePlayer(show) {
  const player = { frame: 0, count: 1, playing: false, speed: 1, seconds: 0.05, timer: null };
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

  player.go = (frame) => {
    player.frame = Math.min(player.count - 1, Math.max(0, frame));
    show(player);
  };
  player.pause = () => {
    clearTimeout(player.timer);
    player.playing = false;
    show(player);
  };
  // Frames are skipped rather than drawn faster than the eye follows; with reduced motion, a few still pictures.
  const advance = () => {
    const pause = (1000 * player.seconds) / player.speed;
    const skip = calm.matches ? Math.ceil(player.count / STILL_STEPS) : Math.max(1, Math.round(SHORTEST_PAUSE / pause));
    player.timer = setTimeout(() => {
      player.frame = Math.min(player.count - 1, player.frame + skip);
      if (player.frame === player.count - 1) {
        player.pause();
      } else {
        show(player);
        advance();
      }
    }, calm.matches ? STILL_PAUSE : pause * skip);
  };
  player.play = () => {
    if (player.frame >= player.count - 1) player.frame = 0;
    player.playing = true;
    show(player);
    advance();
  };
  player.load = (count, seconds) => {
    clearTimeout(player.timer);
    Object.assign(player, { count, seconds, frame: 0, playing: false });
    show(player);
  };
  player.toggle = () => (player.playing ? player.pause() : player.play());
  return player;
}
