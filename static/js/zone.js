// The browser's time zone: the server writes times in it, unless the account has another one.
const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
if (timeZone && !document.cookie.split("; ").includes(`tz=${timeZone}`)) {
  document.cookie = `tz=${timeZone}; path=/; max-age=31536000; samesite=lax`;
}
