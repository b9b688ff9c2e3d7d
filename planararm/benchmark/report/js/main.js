const replay = startReplay();
startFilter();
startLeaderboard();
startHeat();
startOutcomes();
startLegend();
startEcdf();
startDifficulty();
startScatter();
startMaps();
renderers.push((_, suite) => replay.show(suite));
startTheme(() => {
  render();
  replay.redraw();
});
showFirstPolicies();
render();
// For those who want to look at the numbers in the console.
window.planararm = { data, state, update, replay, jointPositions, discsAt, clearanceOf, sliceOf, percent, duration, scientific };
