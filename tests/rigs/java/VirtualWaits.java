import java.io.InputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Virtual threads, one for each connection, that wait while their clients leave: those of an executor for a semaphore, and some
 * that were started by themselves for a lock. Each says what is on its stack. With {@code -Dcollect=true} the collector moves
 * all that time what it can. It runs on 21 and later.
 */
public class VirtualWaits {
    static final Semaphore orders = new Semaphore(0);
    static final ReentrantLock stock = new ReentrantLock();
    static final List<Thread> threads = new ArrayList<>();
    static final List<Socket> peers = new ArrayList<>();

    static void takeOrder() throws Exception {
        orders.acquire();
    }

    static void takeStock() throws Exception {
        stock.lock();
    }

    static void serve(Socket connection, boolean isOrder) {
        synchronized (threads) {
            threads.add(Thread.currentThread());
        }
        try {
            InputStream from = connection.getInputStream();
            from.read();
            if (isOrder) {
                takeOrder();
            } else {
                takeStock();
            }
            connection.close();
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }

    static void startVirtual(Runnable task) throws Exception {
        Thread.class.getMethod("startVirtualThread", Runnable.class).invoke(null, task);
    }

    static void warmUp(ServerSocket listener) throws Exception {
        for (int number = 0; number < 200; number++) {
            startVirtual(() -> {
                try {
                    try (Socket connection = listener.accept()) {
                        connection.getInputStream().read();
                    }
                } catch (Exception e) {
                    throw new IllegalStateException(e);
                }
            });
            try (Socket peer = new Socket(listener.getInetAddress(), listener.getLocalPort())) {
                peer.getOutputStream().write('x');
                Thread.sleep(10);
            }
        }
    }

    static void tell() {
        StringBuilder lines = new StringBuilder();
        synchronized (threads) {
            for (Thread thread : threads) {
                for (StackTraceElement frame : thread.getStackTrace()) {
                    lines.append(thread.getId() + " " + frame.getClassName() + "." + frame.getMethodName() + " "
                        + frame.getLineNumber() + "\n");
                }
            }
        }
        System.out.print(lines);
    }

    static void collect() {
        try {
            while (true) {
                byte[][] garbage = new byte[64][];
                for (int i = 0; i < garbage.length; i++) {
                    garbage[i] = new byte[16 << 10];
                }
                System.gc();
                Thread.sleep(200);
            }
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }

    public static void main(String[] arguments) throws Exception {
        int connections = Integer.parseInt(arguments[0]);
        stock.lock();
        if (Boolean.getBoolean("collect")) {
            Thread collector = new Thread(VirtualWaits::collect);
            collector.setDaemon(true);
            collector.start();
        }
        ServerSocket listener = new ServerSocket(0, 50, InetAddress.getByName("127.0.0.1"));
        warmUp(listener);
        ExecutorService pool = (ExecutorService) Executors.class.getMethod("newVirtualThreadPerTaskExecutor").invoke(null);
        for (int number = 0; number < 2 * connections; number++) {
            Socket peer = new Socket(listener.getInetAddress(), listener.getLocalPort());
            Socket connection = listener.accept();
            peer.getOutputStream().write('x');
            if (number % 2 == 0) {
                pool.execute(() -> serve(connection, true));
            } else {
                startVirtual(() -> serve(connection, false));
            }
            peers.add(peer);
        }
        Thread.sleep(1500);
        for (Socket peer : peers) {
            peer.close();
        }
        tell();
        System.out.println("stuck");
        System.in.read();
    }
}
