"use strict";document.getElementById("app").textContent="The bundle has not been built yet.";
