<?php
function fetch_prices() {
    $c = curl_init("http://127.0.0.1:" . getenv("UP") . "/prices");
    curl_setopt($c, CURLOPT_RETURNTRANSFER, true);
    return curl_exec($c);
}

if ($_SERVER['REQUEST_URI'] == '/work') {
    echo fetch_prices();
} else {
    echo 'ok';
}
