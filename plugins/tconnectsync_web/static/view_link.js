"use strict";
/* The token is after the "#". Send it in the form, and take it out of the address and the history. */
(() => {
  const form = document.getElementById("view-link");
  const token = window.location.hash.slice(1);
  if (!form || !token) return;
  window.history.replaceState(null, "", window.location.pathname + window.location.search);
  form.elements.namedItem("token").value = token;
  form.submit();
})();
