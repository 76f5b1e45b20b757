import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * Virtual threads, one for each connection, that wait for the line they read: what called the reader lies on the heap then.
 * Two methods with one call each, at the same depth. Each says once what is on its stack. A connection that was closed half a
 * second before its first line was read, as where all is compiled first, is told by the client's port. With
 * {@code -Dcollect=true} the collector moves all that time what it can. It runs on 21 and later.
 */
public class VirtualThreads {
    static final List<Socket> held = new ArrayList<>();
    static ServerSocket listener;

    /** By the client's port, just before it was closed. */
    static final Map<Integer, Long> closed = new ConcurrentHashMap<>();

    static void readOrders(BufferedReader from, int port, boolean tell) throws Exception {
        if (tell) {
            tell("orders");
        }
        while (from.readLine() != null) {
            isRead(port);
        }
    }

    static void readStock(BufferedReader from, int port, boolean tell) throws Exception {
        if (tell) {
            tell("stock");
        }
        while (from.readLine() != null) {
            isRead(port);
        }
    }

    static void down(int depth, BufferedReader from, boolean orders, int port, boolean tell) throws Exception {
        if (depth > 0) {
            down(depth - 1, from, orders, port, tell);
        } else if (orders) {
            readOrders(from, port, tell);
        } else {
            readStock(from, port, tell);
        }
    }

    static void isRead(int port) {
        Long since = closed.get(port);
        if (since != null && System.nanoTime() - since > 500_000_000L) {
            System.out.println("unread " + port);
        }
    }

    static void tell(String name) {
        StringBuilder lines = new StringBuilder();
        StackTraceElement[] frames = Thread.currentThread().getStackTrace();
        for (int number = 2; number < frames.length; number++) {
            StackTraceElement frame = frames[number];
            lines.append(name + " " + frame.getClassName() + "." + frame.getMethodName() + " " + frame.getLineNumber() + "\n");
        }
        System.out.print(lines);
        System.out.flush();
    }

    static void connectAndClose(int count) {
        try {
            for (int i = 0; i < count; i++) {
                try (Socket peer = new Socket(listener.getInetAddress(), listener.getLocalPort())) {
                    Thread.sleep(15);
                    peer.getOutputStream().write("x\n".getBytes());
                    Thread.sleep(15);
                    closed.put(peer.getLocalPort(), System.nanoTime());
                }
            }
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }

    static void serve(ExecutorService pool, int count, boolean keep, boolean tells) throws Exception {
        Thread peers = new Thread(() -> connectAndClose(count));
        peers.start();
        CountDownLatch done = new CountDownLatch(count);
        for (int number = 0; number < count; number++) {
            Socket connection = listener.accept();
            boolean orders = number % 2 == 1;
            boolean tell = tells && number < 2;
            pool.execute(() -> {
                try {
                    BufferedReader from = new BufferedReader(new InputStreamReader(connection.getInputStream()));
                    down(4, from, orders, connection.getPort(), tell);
                    if (keep) {
                        synchronized (held) {
                            held.add(connection);
                        }
                    } else {
                        connection.close();
                    }
                } catch (Exception e) {
                    throw new IllegalStateException(e);
                }
                done.countDown();
            });
        }
        peers.join();
        done.await();
    }

    static void collect() {
        try {
            while (true) {
                byte[][] garbage = new byte[64][];
                for (int i = 0; i < garbage.length; i++) {
                    garbage[i] = new byte[16 << 10];
                }
                System.gc();
                Thread.sleep(7);
            }
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    public static void main(String[] arguments) throws Exception {
        if (Boolean.getBoolean("collect")) {
            Thread collector = new Thread(VirtualThreads::collect);
            collector.setDaemon(true);
            collector.start();
        }
        ExecutorService pool = (ExecutorService)
                Executors.class.getMethod("newVirtualThreadPerTaskExecutor").invoke(null);
        listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        System.out.println(listener.getLocalPort());
        // Long before the connections that are kept: it changes what is compiled.
        serve(pool, 10, false, true);
        for (int round = Integer.parseInt(arguments[0]); round > 0; round--) {
            serve(pool, 10, false, false);
        }
        serve(pool, 10, true, false);
        System.out.println("stuck");
        while (System.in.read() >= 0) {
        }
    }
}
