/* Light or dark: as the system says, until somebody presses the button. Not a module, because it runs before the
   first paint. */

const THEMES = {auto: "system", light: "light", dark: "dark"};
const THEME_KEY = "trioserve.theme";

function useTheme(theme) {
  document.documentElement.dataset.theme = theme;
  const button = document.getElementById("theme");
  if (button) {
    button.lastElementChild.textContent = THEMES[theme];
    button.ariaLabel = `Colours: ${THEMES[theme]}`;
  }
}

function nextTheme() {
  const names = Object.keys(THEMES);
  const theme = names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length];
  localStorage.setItem(THEME_KEY, theme);
  useTheme(theme);
}

useTheme(localStorage.getItem(THEME_KEY) in THEMES ? localStorage.getItem(THEME_KEY) : "auto");
addEventListener("DOMContentLoaded", () => {
  useTheme(document.documentElement.dataset.theme);
  document.getElementById("theme").addEventListener("click", nextTheme);
});
