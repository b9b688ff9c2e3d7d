const replay = startReplay();
startTheme(replay.redraw);
replay.show(data.suites[0]);
// For those who want to look at the numbers in the console.
window.planararm = { data, replay, jointPositions, discsAt, clearanceOf, sliceOf };
